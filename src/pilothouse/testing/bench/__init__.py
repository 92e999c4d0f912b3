"""Measures the engine against its own parts, on a machine (a network namespace, a data directory) made for it."""
