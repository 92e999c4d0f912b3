"""A client for the commands: of this machine's engine, or of the cluster a kubeconfig names."""

from __future__ import annotations

from pathlib import Path

from pilothouse.cli.errors import CommandError
from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.client.kubeconfig import KubeconfigError, read_kubeconfig


def connect(data_dir: str, kubeconfig: str | None = None) -> Client:
    """A client with the identity in the kubeconfig (default: D/kubeconfig). Raises CommandError."""
    path = Path(kubeconfig) if kubeconfig else Path(data_dir, "kubeconfig")
    try:
        access = read_kubeconfig(path)
    except FileNotFoundError as error:
        hint = "check --kubeconfig" if kubeconfig else "run `pilothouse up` first, or name its --data-dir"
        raise CommandError(f"there is no {error.filename}: {hint}") from error
    except PermissionError as error:
        raise CommandError(f"{error.filename} is readable by root only: use sudo") from error
    except KubeconfigError as error:
        raise CommandError(f"{path} {error}") from error
    return Client(HttpsTransport(access.server, access.tls, token=access.token), user_agent="pilothouse-cli")
