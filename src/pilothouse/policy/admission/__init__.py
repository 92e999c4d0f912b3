"""Policies that users bring, judged for one request: what they match, what they say. Pure; the API server asks."""
