"""The API server alone, for measuring it: a process of its own, as the engine has it but for controllers and nodes.

Real TLS, authentication, RBAC, admission, audit at its default and the durable store. Prints its URL when it serves;
each line on its standard input is answered with the event loop's lag since the last one, in milliseconds: p99, most.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

from pilothouse.apiserver.allocation import service_allocators
from pilothouse.apiserver.audit.log import AuditLog
from pilothouse.apiserver.audit.policy import default_policy
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.component_roles import component_names
from pilothouse.apiserver.bootstrap.ensure import ensure
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.flow_control.control import FlowControl
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.client.client import Client
from pilothouse.client.wire import HandlerTransport, User
from pilothouse.kinds.catalogue import KINDS
from pilothouse.launch.encryption import KeyRing
from pilothouse.launch.pki import ClusterPki, write_private
from pilothouse.store.sqlite import SqliteStore
from pilothouse.testing.bench.report import percentile

_SERVICES, _DOMAIN = "10.96.0.0/16", "cluster.local"
_STEP_SECONDS = 0.005


async def serve(directory: Path) -> None:
    """Serves until standard input ends."""
    pki = ClusterPki.open(directory / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain=_DOMAIN)
    store = SqliteStore(directory / "state.db", sealer=KeyRing.open(directory / "pki").sealer())
    chain = build_chain(store, pki.service_account_key, f"https://kubernetes.default.svc.{_DOMAIN}")
    audit = AuditLog(directory / "audit" / "audit.log", default_policy(component_names()))
    api = ApiServer(
        store, chain, KINDS, allocators=service_allocators(store, _SERVICES), audit=audit, flow=FlowControl(store)
    )
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    url = f"https://127.0.0.1:{sock.getsockname()[1]}"
    root = Client(HandlerTransport(api.handle, User("system:pilothouse:bootstrap", ("system:masters",))))
    cluster = Cluster(
        service_ip="10.96.0.1",
        api_address="192.0.2.1",
        api_port=6443,
        server=url,
        ca_pem=pki.ca_pem,
        pod_range="10.244.0.0/16",
        service_range=_SERVICES,
        domain=_DOMAIN,
    )
    await ensure(StoreReader(store), root, cluster)
    write_private(directory / "kubeconfig", pki.admin_kubeconfig(url).encode())
    edge = HttpsEdge(api.handle, pki.server_context())
    await edge.start([sock])
    lags: list[float] = []
    sampler = asyncio.create_task(_sample(lags))
    print(url, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        found = sorted(lags) or [0.0]
        lags.clear()
        print(json.dumps({"p99": percentile(found, 0.99) * 1000, "most": found[-1] * 1000}), flush=True)
    sampler.cancel()
    await edge.close()
    await store.close()


async def _sample(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _STEP_SECONDS
        await asyncio.sleep(_STEP_SECONDS)
        lags.append(max(loop.time() - due, 0.0))


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))
