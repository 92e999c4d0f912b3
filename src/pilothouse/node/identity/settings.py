"""What a joining machine must know of the cluster before it touches its own network."""

from __future__ import annotations

import ssl
from typing import NamedTuple

import orjson

from pilothouse.client.https import HttpsTransport
from pilothouse.client.wire import Request
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.node.identity.discovery import CLUSTER_INFO, discover
from pilothouse.node.identity.errors import IdentityError, token_refused
from pilothouse.node.identity.token import JoinToken


class ClusterSettings(NamedTuple):
    """The same on every machine of a cluster."""

    pod_range: str
    service_range: str
    domain: str


async def cluster_settings(server: str, token: JoinToken) -> ClusterSettings:
    """The settings, asked for as the token's bearer over a connection verified by it. Raises IdentityError."""
    authority = await discover(server, token)
    transport = HttpsTransport(server, ssl.create_default_context(cadata=authority), token=token.bearer)
    try:
        response = await transport.send(Request("GET", CLUSTER_INFO))
    except ServiceUnavailable as error:
        raise IdentityError(
            f"the connection to {server} failed: {error.message}; if it is about the certificate's name, join by an "
            "address that the server was started with (`pilothouse up --listen`)"
        ) from error
    finally:
        await transport.close()
    if response.status == 401:
        raise token_refused(server)
    try:
        network = orjson.loads(orjson.loads(response.body)["data"]["network"])
        return ClusterSettings(network["podRange"], network["serviceRange"], network["domain"])
    except (ValueError, KeyError, TypeError) as error:
        raise IdentityError(
            f"{server} answered {response.status} and does not tell its network's settings: is it of the same version?"
        ) from error
