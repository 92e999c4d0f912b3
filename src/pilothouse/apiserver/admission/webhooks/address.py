"""Where a webhook is reached: its URL, or an address behind its Service."""

from __future__ import annotations

import base64
import binascii
import ssl
from functools import lru_cache
from typing import NamedTuple

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.apiserver.endpoints import Unreachable, ready_endpoint
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.objects import Obj

_HTTPS = 443


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
    endpoint, number = ready_endpoint(found, port, objects)
    return Address(f"https://{endpoint}:{number}{path}", f"https://{host}:{port}{path}", host)


@lru_cache(maxsize=64)
def tls_context(bundle: str) -> ssl.SSLContext:
    """Trusts the authorities of a `caBundle` (base64 of PEM), the system's without one. Raises Unreachable."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise Unreachable(f"unable to load root certificates: {error}") from None
