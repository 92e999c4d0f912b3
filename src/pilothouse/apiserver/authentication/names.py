"""The users and groups that mean something to the API server whoever vouches for them."""

from __future__ import annotations

from pilothouse.client.wire import User

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


def authenticated(user: User) -> User:
    """The user with the group that everyone known is in."""
    if AUTHENTICATED in user.groups or user.name == ANONYMOUS:
        return user
    return User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)
