"""Credentials for registries, from Secrets of the types kubernetes.io/dockerconfigjson and dockercfg."""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from pilothouse.kinds.core.secret import Secret
from pilothouse.node.images.reference import Reference

_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io", "docker.io")


@dataclass(frozen=True, slots=True)
class Credential:
    username: str
    password: str
    identity_token: str = ""
    registry_token: str = ""


def credentials_for(reference: Reference, secrets: Iterable[Secret]) -> list[Credential]:
    """The credentials that fit, those of the longest matching path first; Secrets that cannot be read are left out."""
    found: list[tuple[int, Credential]] = []
    for secret in secrets:
        for server, entry in _entries(secret).items():
            location = server.removeprefix("https://").removeprefix("http://").rstrip("/")
            host, _, path = location.partition("/")
            if path in ("v1", "v2"):
                path = ""
            if not _same_host(host, reference.host) or not (reference.path + "/").startswith(
                path + "/" if path else ""
            ):
                continue
            credential = _credential(entry)
            if credential is not None:
                found.append((len(path), credential))
    return [credential for _, credential in sorted(found, key=lambda pair: -pair[0])]


def _entries(secret: Secret) -> dict[str, dict[str, Any]]:
    try:
        if ".dockerconfigjson" in secret.data:
            entries = orjson.loads(base64.b64decode(secret.data[".dockerconfigjson"])).get("auths") or {}
        elif ".dockercfg" in secret.data:
            entries = orjson.loads(base64.b64decode(secret.data[".dockercfg"]))
        else:
            return {}
    except (ValueError, AttributeError, binascii.Error):
        return {}
    return (
        {key: value for key, value in entries.items() if isinstance(value, dict)} if isinstance(entries, dict) else {}
    )


def _same_host(pattern: str, host: str) -> bool:
    if host in _DOCKER_HUB:
        return pattern in _DOCKER_HUB
    return fnmatch.fnmatchcase(host, pattern)


def _credential(entry: dict[str, Any]) -> Credential | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            return None
    token = str(entry.get("identitytoken") or "")
    registry_token = str(entry.get("registrytoken") or "")
    return Credential(username, password, token, registry_token) if username or token or registry_token else None
