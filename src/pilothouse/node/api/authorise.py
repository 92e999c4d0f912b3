"""Who may use the node's API: the API server alone, known by the name in its client certificate. Pure."""

from __future__ import annotations

from typing import Any

from pilothouse.machinery.errors import Forbidden, Unauthorized

API_SERVER = "system:pilothouse:apiserver"


def common_name(certificate: dict[str, Any] | None) -> str:
    """The subject's common name of a verified certificate, as `ssl` describes it; empty without one."""
    for relative in (certificate or {}).get("subject", ()):
        for name, value in relative:
            if name == "commonName":
                return str(value)
    return ""


def authorise(certificate: dict[str, Any] | None, allowed: frozenset[str]) -> None:
    """Raises Unauthorized without a certificate, Forbidden for anybody else."""
    user = common_name(certificate)
    if not user:
        raise Unauthorized("the node's API asks for a client certificate of the cluster")
    if user not in allowed:
        raise Forbidden(f'user "{user}" may not use the node\'s API: only the API server may')
