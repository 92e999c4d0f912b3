"""The node's identity on disk (D/node): taken from there, got with a join token, and renewed while running."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.machinery.errors import ApiError, Forbidden, ServiceUnavailable, Unauthorized
from pilothouse.node.identity.discovery import discover
from pilothouse.node.identity.errors import IdentityError, token_refused
from pilothouse.node.identity.request import CLIENT_SIGNER, SERVING_SIGNER, obtain
from pilothouse.node.identity.token import parse_token
from pilothouse.node.identity.validity import Validity, validity

_EARLIEST, _LATEST = 0.7, 0.9
"""Between these shares of its life a certificate is renewed; where, is chosen at random, so that nodes do not all ask
at once."""
_RETRY_FIRST, _RETRY_MOST = 5.0, 600.0
_LONGEST_SLEEP = 3600.0
_JOIN = "join"
_NAMES = b"names: "
"""Begins the line before a serving certificate that says what it was asked for; readers of PEM skip it."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the node's certificates are. `client` and `serving` hold a certificate with its key."""

    directory: Path
    node_name: str
    server: str

    @property
    def authority(self) -> Path:
        """The cluster's certificate authority."""
        return self.directory / "ca.crt"

    @property
    def client(self) -> Path:
        return self.directory / "client.pem"

    @property
    def serving(self) -> Path:
        """For the node's own API; exists once `ensure_serving` has returned."""
        return self.directory / "serving.pem"

    def client_context(self) -> ssl.SSLContext:
        """TLS for the node as a client of the API."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.client)
        return context


async def ensure_identity(directory: Path, node_name: str, server: str, join_token: str = "") -> Identity:
    """The node's identity, from disk when it is still good, else by the join token (default: in the file `join`).

    `server` is the API's URL. Raises IdentityError with what to do.
    """
    identity = Identity(directory, node_name, server)
    kept = _kept(identity.client)
    now = dt.datetime.now(dt.UTC)
    if kept is not None and kept.end > now and identity.authority.exists():
        return identity
    text = join_token or _waiting_token(directory)
    if not text:
        raise IdentityError(
            (f"the node's certificate ended at {kept.end:%Y-%m-%d %H:%M}Z" if kept else "this node has no identity yet")
            + ": make a token on the server with `pilothouse node token` and run the join command it prints here"
        )
    try:
        token = parse_token(text)
    except ValueError as error:
        raise IdentityError(str(error)) from error
    authority = await discover(server, token, now)
    _write(identity.authority, authority.encode(), 0o644)
    _write(identity.client, await _join(identity, authority, token.bearer), 0o600)
    (directory / _JOIN).unlink(missing_ok=True)
    return identity


def _waiting_token(directory: Path) -> str:
    """The token the join command left, "" when there is none."""
    try:
        return (directory / _JOIN).read_text()
    except FileNotFoundError:
        return ""


async def _join(identity: Identity, authority: str, bearer: str) -> bytes:
    context = ssl.create_default_context(cadata=authority)
    client = Client(HttpsTransport(identity.server, context, token=bearer), user_agent="pilothouse-join")
    try:
        return await obtain(client, identity.node_name, CLIENT_SIGNER)
    except Unauthorized as error:
        raise token_refused(identity.server) from error
    except Forbidden as error:
        raise IdentityError(f"{identity.server} does not let this machine join: {error.message}") from error
    except ServiceUnavailable as error:
        raise IdentityError(
            f"the connection to {identity.server} failed: {error.message}; if it is about the certificate's name, join "
            "by an address that the server was started with (`pilothouse up --listen`)"
        ) from error
    except ApiError as error:
        raise IdentityError(f"{identity.server} refused the certificate request: {error.message}") from error
    finally:
        await client.close()


async def ensure_serving(identity: Identity, client: Client, addresses: Sequence[str]) -> Path:
    """The file of the serving certificate, asked for when there is none that is still good for these names.

    It is granted once the node is registered with these names and addresses, so this may wait for that. Raises
    IdentityError and ApiError.
    """
    kept = _kept(identity.serving)
    if kept is None or kept.end <= dt.datetime.now(dt.UTC) or not _is_for(identity.serving, addresses):
        data = await obtain(client, identity.node_name, SERVING_SIGNER, addresses)
        _write(identity.serving, _heading(addresses) + data, 0o600)
    return identity.serving


async def keep_renewed(
    identity: Identity,
    client: Client,
    addresses: Sequence[str],
    renewed_client: Callable[[], None],
    renewed_serving: Callable[[], None],
    *,
    share: Callable[[], float] = lambda: random.uniform(_EARLIEST, _LATEST),
) -> None:
    """Renews both certificates in time until cancelled, and calls back so that transports load them again.

    `client` authenticates as the node. A renewal that fails is tried again until it works.
    """

    async def keep(path: Path, signer: str, names: Sequence[str], renewed: Callable[[], None]) -> None:
        while True:
            await _sleep_until(path, share())
            failures = 0
            while True:
                try:
                    data = await obtain(client, identity.node_name, signer, names)
                    break
                except (ApiError, IdentityError) as error:
                    failures += 1
                    log.warning("cannot renew %s: %s", path.name, error)
                    await asyncio.sleep(min(_RETRY_MOST, _RETRY_FIRST * 2 ** min(failures, 10)))
            _write(path, (_heading(names) if names else b"") + data, 0o600)
            log.info("renewed %s", path.name)
            renewed()

    async with asyncio.TaskGroup() as group:
        group.create_task(keep(identity.client, CLIENT_SIGNER, (), renewed_client))
        group.create_task(keep(identity.serving, SERVING_SIGNER, addresses, renewed_serving))


async def _sleep_until(path: Path, share: float) -> None:
    """Waits until that share of the certificate's life is over, by the wall clock, which may be set meanwhile."""
    while True:
        kept = _kept(path)
        now = dt.datetime.now(dt.UTC)
        if kept is None or kept.at(share) <= now:
            return
        await asyncio.sleep(min(_LONGEST_SLEEP, (kept.at(share) - now).total_seconds()))


def _kept(path: Path) -> Validity | None:
    """When the certificate on disk is valid; None for one that is missing or broken."""
    try:
        return validity(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read (%s); asking for a new one", path, error)
        return None


def _heading(names: Sequence[str]) -> bytes:
    return _NAMES + " ".join(names).encode() + b"\n"


def _is_for(path: Path, names: Sequence[str]) -> bool:
    return path.read_bytes().startswith(_heading(names))


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replaces a file atomically and durably."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
