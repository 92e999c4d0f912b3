"""Exceptions that are written into manifests: accepted findings with a reason, an owner and an end."""
