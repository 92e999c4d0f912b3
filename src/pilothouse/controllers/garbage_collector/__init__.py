"""Deletion of what is owned by something that is gone."""
