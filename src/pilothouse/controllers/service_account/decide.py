"""Whether a namespace lacks its default service account. Pure."""

from __future__ import annotations

from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount

DEFAULT = "default"


def needs_account(namespace: Namespace | None, account: ServiceAccount | None) -> bool:
    """True for a live namespace without the account."""
    if namespace is None or namespace.metadata.deletion_timestamp is not None:
        return False
    return namespace.status.phase != "Terminating" and account is None
