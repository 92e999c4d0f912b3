"""Pilothouse: a container orchestrator that speaks the Kubernetes API, with its guard rails built in."""

__version__ = "0.1.0"
