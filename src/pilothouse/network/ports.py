"""Ports of the node's addresses that services ask for and others hold: whoever came first keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pilothouse.linux.listeners import Listener, holder, listeners
from pilothouse.network.pods import PodFacts

Port = tuple[str, int]
"""Protocol in lower case, and number."""

PORTS_IN_USE = "pilothouse.io/ports-in-use"
"""Annotation of the node with what `PortGuard.taken` found, as a JSON object such as {"tcp/80": "nginx (pid 7)"}."""


class PortGuard:
    """`wanted` are the ports each service asks for; `taken` those it does not get, with who holds them.

    A port once granted stays granted while it is wanted, whoever comes to listen on it later.
    """

    def __init__(self, look: Callable[[], list[Listener]] = listeners, name: Callable[[str], str] = holder) -> None:
        self.wanted: dict[str, set[Port]] = {}
        self.taken: dict[Port, str] = {}
        self._granted: set[Port] = set()
        self._look = look
        self._name = name
        self._names: dict[str, str] = {}

    def want(self, service: str, ports: set[Port]) -> bool:
        """Notes what a service asks for. True if `check` should be called."""
        before = self.wanted.get(service, set())
        if ports:
            self.wanted[service] = ports
        else:
            self.wanted.pop(service, None)
        return ports != before

    def check(self, addresses: tuple[str, ...], pods: Iterable[PodFacts], served: Callable[[Port], bool]) -> set[Port]:
        """Looks who holds the wanted ports; returns those for which that changed. `served`: in the table already."""
        wanted = {port for ports in self.wanted.values() for port in ports}
        self._granted &= wanted
        self._granted |= {port for port in wanted - self.taken.keys() if served(port)}
        open_ = wanted - self._granted
        found: dict[Port, str] = {}
        names: dict[str, str] = {}
        if open_:
            outward = {address for address in addresses if not address.startswith("127.")}
            for pod in pods:
                for port in pod.host_ports if pod.local else ():
                    if (port.protocol, port.port) in open_:
                        found[port.protocol, port.port] = f"the host port of pod {pod.key}"
            for listener in self._look():
                key = (listener.protocol, listener.port)
                if key in open_ and key not in found and (not listener.address or listener.address in outward):
                    # Who holds a socket is looked for once: it takes a walk through all processes.
                    known = self._names.get(listener.inode) or self._name(listener.inode)
                    names[listener.inode] = found[key] = known
        self._names = names
        self._granted |= open_ - found.keys()
        changed = {key for key in found.keys() ^ self.taken.keys() if key in wanted}
        self.taken = found
        return changed

    def annotation(self) -> dict[str, str]:
        return {f"{protocol}/{number}": who for (protocol, number), who in sorted(self.taken.items())}
