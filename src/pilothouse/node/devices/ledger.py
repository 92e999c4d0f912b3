"""Which devices there are, and which container has which; kept on disk, since a device must not be handed out twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

Taken = dict[str, dict[str, dict[str, list[str]]]]
"""Device ids by the pod's UID, the container and the resource."""
_TAKEN = msgspec.json.Decoder(Taken)


class NoDevices(Exception):
    """There are not as many free devices as a container asks for; the message says how many there are."""


class Ledger:
    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._healthy: dict[str, frozenset[str]] = {}
        self._all: dict[str, frozenset[str]] = {}
        self._taken: Taken = {}

    def load(self) -> None:
        """Takes over what an earlier process handed out."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._taken = _TAKEN.decode(self._kept.read_bytes())

    def offer(self, resource: str, devices: Mapping[str, bool]) -> bool:
        """Takes note of a resource's devices and whether each is healthy. True if an amount changed."""
        before = self.amounts()
        self._all[resource] = frozenset(devices)
        self._healthy[resource] = frozenset(name for name, healthy in devices.items() if healthy)
        return self.amounts() != before

    def withdraw(self, resource: str) -> None:
        """The plugin is gone: none of its devices can be handed out until it is back."""
        self._healthy[resource] = frozenset()

    def amounts(self) -> tuple[dict[str, str], dict[str, str]]:
        """Capacity and what is allocatable of it, by resource."""
        return (
            {name: str(len(devices)) for name, devices in self._all.items()},
            {name: str(len(devices)) for name, devices in self._healthy.items()},
        )

    def knows(self, resource: str) -> bool:
        return resource in self._all

    def held(self, uid: str, container: str, resource: str) -> list[str]:
        """The devices that a container has already."""
        return self._taken.get(uid, {}).get(container, {}).get(resource, [])

    def free(self, resource: str) -> list[str]:
        """The healthy devices that nobody has."""
        taken = {
            device
            for containers in self._taken.values()
            for resources in containers.values()
            for device in resources.get(resource, ())
        }
        return sorted(self._healthy.get(resource, frozenset()) - taken)

    def take(self, uid: str, container: str, resource: str, count: int, preferred: Iterable[str] = ()) -> list[str]:
        """Gives a container its devices, those it had if it had any. Raises NoDevices, OSError."""
        held = self.held(uid, container, resource)
        if len(held) == count:
            return held
        free = self.free(resource)
        if len(free) < count:
            raise NoDevices(f"{count} of {resource} are asked for, and {len(free)} are free")
        liked = [device for device in preferred if device in free]
        chosen = [*liked, *(device for device in free if device not in liked)][:count]
        self._taken.setdefault(uid, {}).setdefault(container, {})[resource] = chosen
        self._keep()
        return chosen

    def release(self, uid: str) -> None:
        """Takes back what a pod had. Raises OSError."""
        if self._taken.pop(uid, None) is not None:
            self._keep()

    def _keep(self) -> None:
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._kept.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self._taken))
        fresh.replace(self._kept)
