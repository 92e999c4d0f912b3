"""Keys and certificates are exchanged while clients go on: none of their requests fails."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path

import orjson

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding
from pilothouse.launch.pki import ADMIN, API, ClusterPki
from pilothouse.launch.token_keys import TokenKeyFile
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

_TURNS = 5


class Load:
    """Clients that ask without a pause: over kept connections and over new ones."""

    def __init__(self) -> None:
        self.answered = 0
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, make: Client, *, anew: bool = False) -> None:
        self._tasks.append(asyncio.create_task(self._ask(make, anew)))

    async def _ask(self, client: Client, anew: bool) -> None:
        while not self._ended:
            await client.list(ConfigMap, "ns")
            self.answered += 1
            if anew:
                await client.close()

    async def go_on(self, requests: int) -> None:
        """Returns when so many more have been answered; raises what a request failed with."""
        wanted = self.answered + requests
        async with asyncio.timeout(30):
            while self.answered < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0)

    async def end(self) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)


async def test_no_request_fails_while_keys_and_certificates_are_exchanged(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    pki = ClusterPki.open(tmp_path, addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")
    keys = TokenKeyFile.open(tmp_path, pki.service_account_key, now)
    store, context = MemoryStore(), pki.server_context()
    chain = build_chain(store, keys.keys, "https://kubernetes.default.svc.cluster.local")
    async with ControlPlane(store=store, chain=chain) as plane:
        sock = socket.create_server(("127.0.0.1", 0))
        edge = HttpsEdge(plane.api.handle, context)
        await edge.start([sock])
        url = f"https://127.0.0.1:{sock.getsockname()[1]}"
        trusted = ssl.create_default_context(cafile=str(pki.ca_path))
        clients: list[Client] = []

        def client(token: str = "") -> Client:
            tls = trusted if token else pki.client_context(ADMIN)
            clients.append(Client(HttpsTransport(url, tls, token=token)))
            return clients[-1]

        admin = client()
        await _bot(admin)
        load, used = Load(), set()
        for _ in range(_TURNS):
            token = await _token(admin)
            used.add(token.partition(".")[0])
            load.add(client(token))
            load.add(client(token), anew=True)
            load.add(client(), anew=True)
            before = await _serial(url, trusted)
            await load.go_on(20)
            keys.rotate(now)
            pki.path(API).unlink()  # as if it were due
            assert pki.renew() == [API]
            pki.refresh(context, API)
            await load.go_on(20)
            assert await _serial(url, trusted) != before
        published = orjson.loads(await admin.request("GET", "/openid/v1/jwks"))["keys"]
        await load.end()
        assert len(used) == _TURNS
        assert len(published) == _TURNS + 2
        for each in clients:
            await each.close()
        await edge.close()


async def _bot(admin: Client) -> None:
    """A service account that may read."""
    await admin.create_tree(Namespace.resource, {"metadata": {"name": "ns"}})
    await admin.create_tree(ServiceAccount.resource, {"metadata": {"name": "bot"}}, "ns")
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    rule = {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}
    body = {"metadata": {"name": "view"}, "rules": [rule]}
    await admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", body=body)
    subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}
    binding: Obj = {"metadata": {"name": "bot"}, "roleRef": ref, "subjects": [subject]}
    await admin.create_tree(ClusterRoleBinding.resource, binding)


async def _token(admin: Client) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = ServiceAccount.resource.path("ns", "bot", "token")
    found: str = orjson.loads(await admin.request("POST", path, body=body))["status"]["token"]
    return found


async def _serial(url: str, trusted: ssl.SSLContext) -> str:
    """Of the certificate that a new connection is shown."""
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=trusted)
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return serial
