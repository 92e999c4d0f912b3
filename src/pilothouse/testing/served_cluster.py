"""The whole control plane behind HTTPS on loopback, in a thread of its own: for clients of any language.

Real authentication, authorisation, admission, controllers and scheduler over a store in memory; no containers: a
stand-in says that pods run. `python -m pilothouse.testing.served_cluster DIR [PART…]` keeps one running to try things
against, without the parts named (as `pilothouse up --without`).
"""

from __future__ import annotations

import asyncio
import functools
import socket
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from pilothouse.apiserver.allocation import service_allocators
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.component_roles import CONTROLLER_PREFIX
from pilothouse.apiserver.bootstrap.ensure import ensure
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import HandlerTransport, User
from pilothouse.controllers.certificates import controller as certificates
from pilothouse.controllers.root_ca import controller as root_ca
from pilothouse.controllers.start import INFORMERS, Controller, run_controllers
from pilothouse.kinds.catalogue import KINDS
from pilothouse.launch import replaced
from pilothouse.launch.pki import ClusterPki, write_private
from pilothouse.scheduler.scheduler import run_scheduler
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.stand_in_node import StandInNode

_SERVICES, _PODS, _DOMAIN = "10.96.0.0/16", "10.244.0.0/16", "cluster.local"
_SERVICE_IP = "10.96.0.1"
_ELSEWHERE = "192.0.2.1"
"""The API's address in its EndpointSlice, which may not be on loopback; nothing is sent there."""
_PATIENCE_SECONDS = 120.0


class ServedCluster:
    """`with ServedCluster(directory) as cluster:`; certificates and a kubeconfig are kept in the directory, and one of
    each identity that takes the place of a part left out `without`."""

    def __init__(self, directory: Path, *, without: Collection[str] = (), nodes: int = 1) -> None:
        self._without = without
        self._nodes = nodes
        self._pki = ClusterPki.open(
            directory / "pki",
            addresses=["127.0.0.1"],
            service_ip=_SERVICE_IP,
            domain=_DOMAIN,
            components=replaced.identities(without),
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self.ca: Path = self._pki.ca_path
        self.kubeconfig = directory / "kubeconfig"
        write_private(self.kubeconfig, self._pki.admin_kubeconfig(self.url).encode())
        for identity in replaced.identities(without):
            text = replaced.kubeconfig(self.url, self.ca, self._pki.path(identity), identity)
            write_private(self.kubeconfig_of(identity), text.encode())
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="served-cluster", daemon=True)

    def kubeconfig_of(self, identity: str) -> Path:
        return self.kubeconfig.with_name(f"{identity}.kubeconfig")

    def __enter__(self) -> ServedCluster:
        self._thread.start()
        if not self._ready.wait(_PATIENCE_SECONDS) or self._failure is not None:
            raise RuntimeError("the served cluster did not start") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE_SECONDS)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        store = MemoryStore()
        chain = build_chain(store, self._pki.service_account_key, f"https://kubernetes.default.svc.{_DOMAIN}")
        api = ApiServer(store, chain, KINDS, allocators=service_allocators(store, _SERVICES))
        edge = HttpsEdge(api.handle, self._pki.server_context())

        def client_for(name: str) -> Client:
            user = User(name if name.startswith("system:") else CONTROLLER_PREFIX + name)
            return Client(HandlerTransport(api.handle, user), user_agent=name)

        root = Client(HandlerTransport(api.handle, User("system:pilothouse:bootstrap", ("system:masters",))))
        await ensure(StoreReader(store), root, self._cluster())
        await edge.start([self._socket])
        informers = SharedInformers(client_for(INFORMERS))
        extra = [
            Controller(
                certificates.NAME,
                functools.partial(certificates.run, ca_pem=self._pki.ca_pem, ca_key_pem=self._pki.ca_key_pem),
            ),
            Controller(root_ca.NAME, functools.partial(root_ca.run, ca_pem=self._pki.ca_pem.decode())),
        ]
        tasks = [
            asyncio.create_task(
                run_controllers(
                    client_for,
                    pod_range=_PODS,
                    informers=informers,
                    extra=extra,
                    without=replaced.controllers_left_out(self._without),
                )
            ),
            asyncio.create_task(informers.run()),
            *(asyncio.create_task(StandInNode(root, f"n{number + 1}").run()) for number in range(self._nodes)),
        ]
        if not replaced.without_scheduler(self._without):
            scheduler = run_scheduler(client_for("system:kube-scheduler"), informers=informers)
            tasks.append(asyncio.create_task(scheduler))
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await edge.close()
            await store.close()

    def _cluster(self) -> Cluster:
        return Cluster(
            service_ip=_SERVICE_IP,
            api_address=_ELSEWHERE,
            api_port=int(self.url.rpartition(":")[2]),
            server=self.url,
            ca_pem=self._pki.ca_pem,
            pod_range=_PODS,
            service_range=_SERVICES,
            domain=_DOMAIN,
        )


def main(directory: Path, without: Collection[str]) -> None:
    """Serves until interrupted."""
    with ServedCluster(directory, without=without) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
