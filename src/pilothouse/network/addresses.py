"""Addresses that no sandbox has any more are given back.

The plugin host-local keeps a file for each address given out, and removes it when the sandbox goes. A runtime or a
machine that dies at the wrong moment forgets the sandbox but not the file, and a range has 254 addresses.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from ipaddress import ip_address
from pathlib import Path

from pilothouse.linux.netlink import RouteSocket, Version

log = logging.getLogger(__name__)

NETWORK = "pilothouse"
"""The name of the CNI configuration, and of the plugin's directory."""
_LOOK_SECONDS = 300.0
_FIRST_SECONDS = 30.0
_YOUNG_SECONDS = 600.0
"""A sandbox that is being made is not listed yet; the runtime gives up after 240 s."""

_VERSIONS: tuple[Version, Version] = (4, 6)

Sandboxes = Callable[[], Awaitable[Collection[str]]]


async def keep(ipam_dir: Path, sandboxes: Sandboxes) -> None:
    """Looks every five minutes, until cancelled. `sandboxes` lists the ids of all that the runtime knows."""
    wait = _FIRST_SECONDS
    while True:
        await asyncio.sleep(wait)
        wait = _LOOK_SECONDS
        try:
            known = await sandboxes()
            freed = await asyncio.to_thread(reclaim, ipam_dir / NETWORK, known, time.time() - _YOUNG_SECONDS)
        except Exception as error:
            log.warning("addresses of pods could not be looked through, trying again: %s", error)
            continue
        if freed:
            log.warning("addresses that no pod has any more are free again: %s", ", ".join(freed))


def reclaim(directory: Path, sandboxes: Collection[str], before: float) -> list[str]:
    """Frees the addresses given out before that time whose sandbox is not among those, and to which nothing leads.

    Raises OSError. Holds the plugin's own lock meanwhile.
    """
    if not (directory / "lock").exists():
        return []
    with RouteSocket() as routes:
        known = [route.destination for version in _VERSIONS for route in routes.routes(version)]
    routed = {str(network.network_address) for network in known if network.prefixlen == network.max_prefixlen}
    freed = []
    with open(directory / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in sorted(directory.iterdir()):
            if not _is_address(entry.name) or entry.name in routed or entry.stat().st_mtime > before:
                continue
            owner = next(iter(entry.read_text().split()), "")
            if owner not in sandboxes:
                entry.unlink()
                freed.append(entry.name)
    return freed


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
