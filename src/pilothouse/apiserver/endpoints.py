"""One ready endpoint of a Service, for calls this server makes itself."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.objects import Obj

_SERVICE_NAME = "kubernetes.io/service-name"


class Unreachable(Exception):
    """There is no address to call."""


def ready_endpoint(service: Obj, port: int, objects: ObjectReader) -> tuple[str, int]:
    """Host (in brackets if IPv6) and port. An endpoint is reached whether or not this machine's service rules are in
    place. Raises Unreachable."""
    meta, spec = service["metadata"], service.get("spec") or {}
    entry = next((entry for entry in spec.get("ports") or () if entry.get("port") == port), None)
    if entry is None:
        raise Unreachable(f'no service port {port} found for service "{meta["name"]}"')
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or "", port
    found = list(_ready(meta["namespace"], meta["name"], entry.get("name") or "", objects))
    if not found:
        raise Unreachable(f'no endpoints available for service "{meta["name"]}"')
    return random.choice(found)


def _ready(namespace: str, name: str, port_name: str, objects: ObjectReader) -> Iterator[tuple[str, int]]:
    for slice_ in objects.list(EndpointSlice.resource, namespace):
        if (slice_["metadata"].get("labels") or {}).get(_SERVICE_NAME) != name:
            continue
        numbers = [p["port"] for p in slice_.get("ports") or () if (p.get("name") or "") == port_name and p.get("port")]
        for endpoint in slice_.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                address = endpoint["addresses"][0]
                for number in numbers:
                    yield f"[{address}]" if ":" in address else address, number
