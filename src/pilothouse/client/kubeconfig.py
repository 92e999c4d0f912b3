"""Reads a kubeconfig: where its current context leads, and as whom.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files".
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

_REFUSED: Final = {
    "exec": "credentials by a program",
    "auth-provider": "credentials by a provider",
    "username": "a password",
    "insecure-skip-tls-verify": "a server that is not verified",
    "tls-server-name": "a name for the server's certificate",
}


class KubeconfigError(ValueError):
    """The file cannot be used; the message says what is wrong, without the file's name."""


class Access(NamedTuple):
    """A server's URL, TLS to it with the client's certificate if there is one, and a bearer token or ""."""

    server: str
    tls: ssl.SSLContext
    token: str


def read_kubeconfig(path: Path) -> Access:
    """Raises KubeconfigError, OSError."""
    try:
        tree = yaml.safe_load(path.read_text())
        context = _named(tree["contexts"], tree["current-context"])["context"]
        cluster = _named(tree["clusters"], context["cluster"])["cluster"]
        user = _named(tree["users"], context["user"])["user"] or {}
        for part in (cluster, user):
            for name, what in _REFUSED.items():
                if part.get(name):
                    raise KubeconfigError(f"{name}: {what} is not supported")
        token = user.get("token") or ""
        if not token and user.get("tokenFile"):
            token = _file(path, user["tokenFile"]).read_text().strip()
        return Access(cluster["server"], _tls(path, cluster, user), token)
    except yaml.YAMLError as error:
        raise KubeconfigError(f"is not YAML: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise KubeconfigError(f"is not a complete kubeconfig: {error} is missing") from error
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise KubeconfigError(f"holds a certificate or key that cannot be read: {error}") from error


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for item in items:
        if item["name"] == name:
            return item
    raise KeyError(name)


def _tls(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    ca = _data(path, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=ca.decode() if ca else None)
    certificate, key = _data(path, user, "client-certificate"), _data(path, user, "client-key")
    if certificate and key:
        # ssl loads keys from files only; an anonymous one never reaches a disk.
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, certificate + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _data(path: Path, tree: dict[str, Any], name: str) -> bytes:
    if f"{name}-data" in tree:
        return base64.b64decode(tree[f"{name}-data"])
    return _file(path, tree[name]).read_bytes() if name in tree else b""


def _file(path: Path, name: str) -> Path:
    """Paths in a kubeconfig count from where it is."""
    return path.parent / name
