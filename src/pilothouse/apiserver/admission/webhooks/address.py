"""Where a webhook is reached: its URL, or an address behind its Service."""

from __future__ import annotations

import base64
import binascii
import random
import ssl
from functools import lru_cache
from typing import NamedTuple

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.objects import Obj

_HTTPS = 443
_SERVICE_NAME = "kubernetes.io/service-name"


class Unreachable(Exception):
    """There is no address to call."""


class Address(NamedTuple):
    """A URL to post to; `shown` is what errors name, `name` what the certificate must be for ("": the URL's host)."""

    url: str
    shown: str
    name: str = ""


def address_of(client: Obj, objects: ObjectReader) -> Address:
    """The address of a `clientConfig`. Raises Unreachable."""
    if client.get("url"):
        return Address(client["url"], client["url"])
    service = client.get("service") or {}
    name, namespace = service.get("name") or "", service.get("namespace") or ""
    port, path = service.get("port") or _HTTPS, service.get("path") or "/"
    host = f"{name}.{namespace}.svc"
    found = objects.get(Service.resource, namespace, name)
    if found is None:
        raise Unreachable(f'service "{name}" not found')
    ip, number = _behind(found, port, objects)
    literal = f"[{ip}]" if ":" in ip else ip
    return Address(f"https://{literal}:{number}{path}", f"https://{host}:{port}{path}", host)


def _behind(service: Obj, port: int, objects: ObjectReader) -> tuple[str, int]:
    """A ready endpoint: it is reached whether or not this machine's service rules are in place."""
    meta, spec = service["metadata"], service.get("spec") or {}
    entry = next((entry for entry in spec.get("ports") or () if entry.get("port") == port), None)
    if entry is None:
        raise Unreachable(f'no service port {port} found for service "{meta["name"]}"')
    ready = []
    for found in objects.list(EndpointSlice.resource, meta["namespace"]):
        if (found["metadata"].get("labels") or {}).get(_SERVICE_NAME) != meta["name"]:
            continue
        numbers = [
            known.get("port")
            for known in found.get("ports") or ()
            if (known.get("name") or "") == (entry.get("name") or "")
        ]
        for endpoint in found.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                ready += [(endpoint["addresses"][0], number) for number in numbers if number]
    if not ready:
        raise Unreachable(f'no endpoints available for service "{meta["name"]}"')
    return random.choice(ready)


@lru_cache(maxsize=64)
def tls_context(bundle: str) -> ssl.SSLContext:
    """Trusts the authorities of a `caBundle` (base64 of PEM), the system's without one. Raises Unreachable."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise Unreachable(f"unable to load root certificates: {error}") from None
