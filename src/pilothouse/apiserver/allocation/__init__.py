"""Addresses and ports of Services: chosen when a Service is written, free again when it is gone."""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.apiserver.allocation.allocator import ServiceAllocator
from pilothouse.apiserver.allocation.choose import Ranges
from pilothouse.apiserver.call import Allocator
from pilothouse.store.store import Store


def service_allocators(
    store: Store,
    service_range: str,
    node_ports: tuple[int, int] = (30000, 32767),
    reserved: frozenset[str] = frozenset(),
) -> Mapping[tuple[str, str], Allocator]:
    """What `ApiServer` takes as `allocators`: Services get node ports, and addresses of `service_range` (a CIDR, or
    one of each family) that are not in `reserved`."""
    return {("", "services"): ServiceAllocator(store, Ranges.of(service_range, node_ports, reserved))}
