"""Joining over real TLS on loopback: the server, its chain and the certificate controller are the real ones."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.ensure import ensure
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.https import HttpsTransport
from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import HandlerTransport, User
from pilothouse.controllers.bootstrap_token import controller as token_cleaner
from pilothouse.controllers.bootstrap_token import create_join_token
from pilothouse.controllers.certificates import controller as certificates
from pilothouse.controllers.context import Context
from pilothouse.controllers.root_ca import controller as root_ca
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.view import ObjectMeta
from pilothouse.launch.pki import ClusterPki
from pilothouse.machinery.errors import Forbidden
from pilothouse.node.identity.discovery import discover
from pilothouse.node.identity.errors import IdentityError
from pilothouse.node.identity.identity import Identity, ensure_identity, ensure_serving, keep_renewed
from pilothouse.node.identity.token import parse_token
from pilothouse.node.identity.validity import validity
from pilothouse.store.memory import MemoryStore

HOUR = 3600.0


class World:
    """A control plane on a loopback port."""

    def __init__(self, directory: Path) -> None:
        self.store = MemoryStore()
        self.pki = ClusterPki.open(directory, addresses=[], service_ip="10.96.0.1", domain="cluster.local")
        chain = build_chain(self.store, self.pki.service_account_key, "https://kubernetes.default.svc.cluster.local")
        self.api = ApiServer(self.store, chain, KINDS)
        self.admin = self.client("pilothouse-admin", "system:masters")
        self.url = ""

    def client(self, name: str, *groups: str) -> Client:
        return Client(HandlerTransport(self.api.handle, User(name, groups)))

    def context(self, name: str, informers: SharedInformers) -> Context:
        client = self.client(f"system:controller:{name}")
        return Context(client, informers, EventRecorder(client, name))

    async def token(self, seconds: float = HOUR) -> str:
        return await create_join_token(self.admin, seconds, self.pki.ca_der)

    async def wait_for(self, cls: type, key: str, gone: bool = False) -> None:
        """Until an object exists (or is gone)."""
        changed = asyncio.Event()
        informer: Informer[ConfigMap] = Informer(self.admin, cls)
        informer.subscribe(lambda *_: changed.set())
        task = asyncio.create_task(informer.run())
        await informer.synced()
        while (informer.get(key) is None) is not gone:
            changed.clear()
            await changed.wait()
        task.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "pki")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    made.url = f"https://127.0.0.1:{port}"
    await ensure(
        StoreReader(made.store),
        made.admin,
        Cluster(
            "10.96.0.1", "192.0.2.7", port, made.url, made.pki.ca_pem, "10.244.0.0/16", "10.96.0.0/16", "cluster.local"
        ),
    )
    edge = HttpsEdge(made.api.handle, made.pki.server_context())
    await edge.start([listener])
    informers = SharedInformers(made.client("system:controller:informers"))
    pki = made.pki
    running = [
        informers.run(),
        certificates.run(made.context(certificates.NAME, informers), ca_pem=pki.ca_pem, ca_key_pem=pki.ca_key_pem),
        root_ca.run(made.context(root_ca.NAME, informers), ca_pem=pki.ca_pem.decode()),
        token_cleaner.run(made.context(token_cleaner.NAME, informers)),
    ]
    tasks = [asyncio.create_task(coroutine) for coroutine in running]
    yield made
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await edge.close()


def node_client(identity: Identity) -> Client:
    return Client(HttpsTransport(identity.server, identity.client_context()))


async def register(client: Client, name: str, address: str) -> None:
    await client.create_tree(Node.resource, {"metadata": {"name": name}})
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    await client.patch(Node, name, None, {"status": {"addresses": addresses}}, subresource="status")


async def test_joins_serves_and_renews(world: World, tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        directory = tmp_path / "node"
        identity = await ensure_identity(directory, "n1", world.url, await world.token())
        assert stat.S_IMODE(identity.client.stat().st_mode) == 0o600
        again = await ensure_identity(directory, "n1", world.url)
        assert again == identity
        client = node_client(identity)
        waiting = asyncio.create_task(ensure_serving(identity, client, ["127.0.0.1", "n1"]))
        await register(client, "n1", "127.0.0.1")
        serving = await waiting
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(serving)
        with pytest.raises(Forbidden):
            await client.list(Secret)
        before = identity.client.read_bytes()
        renewed = asyncio.Event()
        keeping = asyncio.create_task(
            keep_renewed(identity, client, ["127.0.0.1", "n1"], renewed.set, lambda: None, share=lambda: 0.0)
        )
        await renewed.wait()
        keeping.cancel()
        assert identity.client.read_bytes() != before
        await client.close()
        fresh = node_client(identity)
        assert (await fresh.get(Node, "n1")).name == "n1"
        await fresh.close()


async def test_a_serving_certificate_for_strange_names_waits_for_a_person(world: World, tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        identity = await ensure_identity(tmp_path / "node", "n1", world.url, await world.token())
        client = node_client(identity)
        await register(client, "n1", "127.0.0.1")
        asking = asyncio.create_task(ensure_serving(identity, client, ["192.0.2.66"]))
        own = await ensure_serving(Identity(tmp_path / "node", "n1", world.url), client, ["127.0.0.1"])
        assert own.exists()
        assert not asking.done()
        asking.cancel()
        await client.close()


async def test_a_wrong_token_another_cluster_and_nobody_there(world: World, tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        good = await world.token()
        with pytest.raises(IdentityError, match="does not accept the join token"):
            await ensure_identity(tmp_path / "a", "n1", world.url, good[:-16] + "0" * 16)
        other = "ph1." + hashlib.sha256(b"other").hexdigest() + good[68:]
        with pytest.raises(IdentityError, match="another cluster"):
            await ensure_identity(tmp_path / "b", "n1", world.url, other)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = f"https://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(IdentityError, match="cannot be reached"):
            await ensure_identity(tmp_path / "c", "n1", address, good)
        late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
        with pytest.raises(IdentityError, match="clocks differ"):
            await discover(world.url, parse_token(good), late)
        with pytest.raises(IdentityError, match="no identity yet"):
            await ensure_identity(tmp_path / "d", "n1", world.url)
        with pytest.raises(IdentityError, match="not a join token"):
            await ensure_identity(tmp_path / "e", "n1", world.url, "abc")


async def test_a_node_cannot_get_another_nodes_certificate(world: World, tmp_path: Path) -> None:
    """Approval needs the right to be let in as a node, which a mere service account lacks."""
    from pilothouse.node.identity.request import CLIENT_SIGNER, new_request

    async with asyncio.timeout(20):
        import base64

        _, request = new_request("n9")
        spec = {
            "request": base64.b64encode(request).decode(),
            "signerName": CLIENT_SIGNER,
            "usages": ["client auth", "digital signature"],
        }
        stranger = world.client("system:node:n1", "system:nodes")
        await stranger.create_tree(CertificateSigningRequest.resource, {"metadata": {"name": "steal"}, "spec": spec})
        # A good request made later has been decided, so the earlier one was looked at, too.
        await ensure_identity(tmp_path / "node", "n2", world.url, await world.token())
        found = await world.admin.get(CertificateSigningRequest, "steal")
        assert not found.status.certificate
        assert not found.status.conditions


async def test_publishes_the_authority_and_clears_old_tokens(world: World) -> None:
    async with asyncio.timeout(20):
        await world.admin.create(Namespace(metadata=ObjectMeta(name="shop")))
        await world.wait_for(ConfigMap, "shop/kube-root-ca.crt")
        await world.admin.delete(ConfigMap, "kube-root-ca.crt", "shop")
        await world.wait_for(ConfigMap, "shop/kube-root-ca.crt")
        published = await world.admin.get(ConfigMap, "kube-root-ca.crt", "shop")
        assert published.data["ca.crt"] == world.pki.ca_pem.decode()
        expired = await world.token(-1.0)
        await world.wait_for(Secret, f"kube-system/bootstrap-token-{expired.split('.')[2]}", gone=True)


def test_validity_is_read_without_a_library(tmp_path: Path) -> None:
    now = dt.datetime(2049, 12, 20, 1, 2, 3, tzinfo=dt.UTC)
    pki = ClusterPki.open(tmp_path, addresses=[], service_ip="10.96.0.1", domain="cluster.local", now=now)
    found = validity(pki.path("api").read_text())
    assert found.end == now + dt.timedelta(days=30)
    assert found.begin == now - dt.timedelta(minutes=5)
    with pytest.raises(ValueError, match="no certificate"):
        validity("")
