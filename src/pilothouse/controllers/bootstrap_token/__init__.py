"""Join tokens: made, and deleted when expired."""

from pilothouse.controllers.bootstrap_token.create import create_join_token

__all__ = ["create_join_token"]
