"""A client for the commands: of this machine's engine, or of the cluster a kubeconfig names."""

from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import yaml

from pilothouse.cli.errors import CommandError
from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport


def connect(data_dir: str, kubeconfig: str | None = None) -> Client:
    """A client with the identity in the kubeconfig (default: D/kubeconfig). Raises CommandError."""
    path = Path(kubeconfig) if kubeconfig else Path(data_dir, "kubeconfig")
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        hint = "check --kubeconfig" if kubeconfig else "run `pilothouse up` first, or name its --data-dir"
        raise CommandError(f"there is no {path}: {hint}") from error
    except PermissionError as error:
        raise CommandError(f"{path} is readable by root only: use sudo") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {error}") from error
    try:
        context = _named(tree["contexts"], tree["current-context"])["context"]
        cluster = _named(tree["clusters"], context["cluster"])["cluster"]
        user = _named(tree["users"], context["user"])["user"]
        return Client(
            HttpsTransport(cluster["server"], _tls(cluster, user), token=user.get("token", "")),
            user_agent="pilothouse-cli",
        )
    except (KeyError, TypeError) as error:
        raise CommandError(f"{path} is not a complete kubeconfig: {error} is missing") from error


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for item in items:
        if item["name"] == name:
            return item
    raise KeyError(name)


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    ca = _data(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=ca.decode() if ca else None)
    certificate, key = _data(user, "client-certificate"), _data(user, "client-key")
    if certificate and key:
        # ssl loads keys from files only; an anonymous one never reaches a disk.
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, certificate + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _data(tree: dict[str, Any], name: str) -> bytes:
    if f"{name}-data" in tree:
        return base64.b64decode(tree[f"{name}-data"])
    return Path(tree[name]).read_bytes() if name in tree else b""
