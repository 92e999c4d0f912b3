"""Finds out whom to trust: the cluster introduces itself, and the join token's fingerprint proves the introduction."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import email.utils
import hashlib
import ssl

import orjson
import yaml

from pilothouse.client.https import HttpsTransport
from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.node.identity.errors import IdentityError
from pilothouse.node.identity.token import JoinToken

CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
_SKEW = dt.timedelta(minutes=5)
"""More than certificates are backdated: with clocks further apart, fresh certificates are not valid yet."""


async def discover(server: str, token: JoinToken, now: dt.datetime | None = None) -> str:
    """The cluster's authority (PEM), proven by the token. Raises IdentityError.

    The connection itself is not verified, since nothing is trusted yet; what comes over it is believed only if its
    fingerprint is the token's, and everything after this is verified with it.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    transport = HttpsTransport(server, unverified)
    try:
        response = await transport.send(Request("GET", CLUSTER_INFO))
    except ServiceUnavailable as error:
        raise IdentityError(
            f"the API at {server} cannot be reached ({error.message}): check the address, that `pilothouse up` runs "
            "there with --listen on that address, and that no firewall blocks the port"
        ) from error
    finally:
        await transport.close()
    check_clock(response, server, now or dt.datetime.now(dt.UTC))
    pem = _authority(response, server)
    if hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() != token.authority:
        raise IdentityError(
            f"{server} belongs to another cluster than the join token (its certificate authority has another "
            "fingerprint): check the address, or make a new token there with `pilothouse node token`; if both are "
            "right, somebody may be intercepting the connection"
        )
    return pem


def check_clock(response: Response, server: str, now: dt.datetime) -> None:
    """Raises IdentityError when this machine's clock is too far from the server's for certificates to work."""
    try:
        theirs = email.utils.parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return
    if theirs.tzinfo is not None and abs(now - theirs) > _SKEW:
        raise IdentityError(
            f"the clocks differ: here it is {now:%Y-%m-%d %H:%M:%S}Z, at {server} {theirs:%Y-%m-%d %H:%M:%S}Z; "
            "set them right (for example with an NTP service) and join again"
        )


def _authority(response: Response, server: str) -> str:
    try:
        if response.status != 200:
            raise ValueError(f"it answered {response.status}")
        config = yaml.safe_load(orjson.loads(response.body)["data"]["kubeconfig"])
        pem = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        ssl.PEM_cert_to_DER_cert(pem)
        return pem
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error, yaml.YAMLError) as error:
        raise IdentityError(
            f"{server} does not introduce itself as a cluster ({error}): check that the address is that of the API "
            "of a Pilothouse server"
        ) from error
