"""Image scanning over a control plane in memory, with a node that tells of made images and real matching."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from known_layers import DEBIAN, sha256, status, tar_of

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.access.watch import ADMIN, ALL_SECRETS
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.finding import Ref
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.live.account_rights import AccountRights
from pilothouse.guard.images.live.contents import Described
from pilothouse.guard.images.live.kept import Listed
from pilothouse.guard.images.live.run import COVERAGE, ImageGuard
from pilothouse.guard.images.match.vex import Vouched
from pilothouse.guard.images.model import Inventory, Layer, Package, Placed
from pilothouse.guard.images.places import LAYERS, data_file
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.signed.keys import public_key
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.guard.finding import FINDINGS, Finding
from pilothouse.machinery.errors import NotFound
from pilothouse.testing.control_plane import ControlPlane

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


class Nodes(Client):
    """A client whose requests to nodes are answered from here."""

    def __init__(self, inner: Client, images: dict[str, bytes]) -> None:
        super().__init__(inner._transport)
        self._images = images
        self.asked: list[str] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content_type: str = "",
    ) -> bytes:
        if "/proxy/" not in path:
            return await super().request(method, path, query=query, body=body, content_type=content_type)
        wanted = dict(query)
        self.asked.append(f"{path.rpartition('/')[2]} {wanted}")
        if path.endswith("/images/list"):
            return msgspec.json.encode(
                [Listed((f"r.example/kept@{digest}",), ("r.example/kept:1",)) for digest in self._images]
            )
        if path.endswith("/images/manifest"):
            layer = self._images.get(wanted["name"].rpartition("@")[2])
            if layer is None:
                raise NotFound("containerd has no such image")
            return msgspec.json.encode(Described(sha256(layer), (Layer(sha256(layer)),), user="1000"))
        layers = {sha256(layer): layer for layer in self._images.values()}
        return msgspec.json.encode(read_layer([layers[wanted["digest"]]], Limits()))


@pytest.fixture
async def findings() -> AsyncIterator[Findings]:
    found = Findings()
    yield found
    await found.close()


@pytest.fixture
async def plane(findings: Findings) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(beside={FINDINGS: findings.state}) as running:
        yield running


class running:
    """Image scanning that runs."""

    def __init__(self, plane: ControlPlane, findings: Findings, folder: Path) -> None:
        layer = tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("redis", "1.0-1", ""))})
        self._informers = SharedInformers(plane.client())
        self.nodes = Nodes(plane.client(), {DIGEST: layer})
        self.guard = ImageGuard(findings, self.nodes, folder)

    async def __aenter__(self) -> running:
        self._tasks = [
            asyncio.create_task(self._informers.run()),
            asyncio.create_task(self.guard.run(self._informers)),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


def take(folder: Path, *records: tuple[str, str, str]) -> None:
    """Takes (id, package, fixed version) in, as another process would."""
    lines = [
        json.dumps(
            {
                "id": ident,
                "modified": fixed,
                "affected": [
                    {
                        "package": {"ecosystem": "Debian:12", "name": package},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
                    }
                ],
            }
        )
        for ident, package, fixed in records
    ]
    file = folder / "osv-Debian.jsonl"
    file.write_text("\n".join(lines))
    base = Base(data_file(folder))
    for result in Updater(base, folder).from_path(file):
        assert not result.error, result.error
    base.close()


async def pod(client: Client, name: str, digest: str, container: str = "redis") -> None:
    spec = {"containers": [{"name": container, "image": "r.example/redis:1"}], "nodeName": "n1"}
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    await client.request("POST", "/api/v1/namespaces/default/pods", body=tree)
    told = {"name": container, "image": "r.example/redis:1", "imageID": f"r.example/redis@{digest}"}
    patch = {"status": {"phase": "Running", "containerStatuses": [told]}}
    await client.request(
        "PATCH",
        f"/api/v1/namespaces/default/pods/{name}/status",
        body=patch,
        content_type="application/merge-patch+json",
    )


async def shown(client: Client, wanted: Callable[[dict[str, Finding]], bool]) -> dict[str, Finding]:
    """The open findings about images by rule, as soon as they are as wanted."""
    async with asyncio.timeout(60.0):
        while True:
            items = (await client.list(Finding, field_selector="status.state=open")).items
            found = {finding.spec.rule: finding for finding in items if finding.spec.source == "images"}
            if wanted(found):
                return found
            await asyncio.sleep(0.02)


async def until(check: Callable[[], bool]) -> None:
    """Waits for what nothing tells of."""
    async with asyncio.timeout(60.0):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_without_data_one_finding_says_so(plane: ControlPlane, findings: Findings, tmp_path: Path) -> None:
    async with running(plane, findings, tmp_path):
        found = await shown(plane.client(), lambda found: "vulnerability-data-missing" in found)
    assert found.keys() == {"vulnerability-data-missing"}


async def test_findings_follow_data_and_pods(plane: ControlPlane, findings: Findings, tmp_path: Path) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"), ("CVE-2", "other", "9"))
    await pod(client, "one", DIGEST)
    async with running(plane, findings, tmp_path) as live:
        first = await shown(client, lambda found: "CVE-1" in found)
        assert first["CVE-1"].spec.evidence["pods"] == "one"
        assert "CVE-2" not in first
        take(tmp_path, ("CVE-1", "redis", "0.5-1"), ("CVE-3", "redis", "3.0-1"))
        second = await shown(client, lambda found: "CVE-3" in found and "CVE-1" not in found)
        assert second["CVE-3"].spec.evidence["fixed"] == "3.0-1"
        await pod(client, "two", DIGEST)
        await shown(client, lambda found: found["CVE-3"].spec.evidence["pods"] in ("one", "two"))
        assert len([asked for asked in live.nodes.asked if asked.startswith("layer")]) == 1, "a layer is read once"
        for name in ("one", "two"):
            await client.request(
                "DELETE", f"/api/v1/namespaces/default/pods/{name}", query=[("gracePeriodSeconds", "0")]
            )
        await shown(client, lambda found: "CVE-3" not in found)


async def test_a_restart_keeps_what_was_found_and_asks_no_node_again(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", DIGEST)
    async with running(plane, findings, tmp_path):
        before = await shown(client, lambda found: "CVE-1" in found)
    events = len(await findings.history())
    async with running(plane, findings, tmp_path) as again:
        await until(lambda: bool(again.guard.index.with_flaws()))
        await again.guard.settle()
        after = await shown(client, lambda found: "CVE-1" in found)
    assert after["CVE-1"].status.first_seen == before["CVE-1"].status.first_seen
    assert len(await findings.history()) == events, "nothing was resolved and found again"
    assert again.nodes.asked == []


async def test_an_image_that_cannot_be_read_is_told_with_the_reason(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", OTHER)
    async with running(plane, findings, tmp_path):
        found = await shown(client, lambda found: "image-not-scanned" in found)
        assert "containerd has no such image" in found["image-not-scanned"].spec.message
        await until(lambda: (tmp_path / COVERAGE).exists())
    coverage = json.loads((tmp_path / COVERAGE).read_text())["images"]
    assert coverage[OTHER]["scanned"] is False


async def test_an_image_that_a_node_keeps_and_nothing_runs_is_in_the_coverage(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await client.request("POST", "/api/v1/nodes", body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})

    def known() -> dict[str, Any]:
        try:
            return dict(json.loads((tmp_path / COVERAGE).read_text())["images"].get(DIGEST, {}))
        except FileNotFoundError:
            return {}

    async with running(plane, findings, tmp_path) as live:
        await until(lambda: known().get("flaws") == 1)
        assert known()["running"] is False
        assert (known()["names"], known()["nodes"]) == (["r.example/kept:1"], ["n1"])
        assert await shown(client, lambda found: True) == {}, "nothing runs it"
        await pod(client, "one", DIGEST)
        await shown(client, lambda found: "CVE-1" in found)
        await until(lambda: known()["running"] is True)
        assert len([asked for asked in live.nodes.asked if asked.startswith("manifest")]) == 1, "it was known"


async def test_exposure_follows_services_ingresses_and_rights(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", DIGEST)

    async def make(group: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        version = group.removeprefix("/apis/").removeprefix("/api/")
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        plural = "ingresses" if kind == "Ingress" else f"{kind.lower()}s"
        await client.request("POST", f"{group}/namespaces/default/{plural}", body=body)

    def exposed(found: dict[str, Finding], by: str, level: int) -> bool:
        evidence = found["CVE-1"].spec.evidence if "CVE-1" in found else {}
        return by in evidence.get("exposure", "") and evidence.get("exposure-level") == str(level)

    async with running(plane, findings, tmp_path):
        before = await shown(client, lambda found: "CVE-1" in found)
        await client.request(
            "PATCH",
            "/api/v1/namespaces/default/pods/one",
            body={"metadata": {"labels": {"app": "redis"}}},
            content_type="application/merge-patch+json",
        )
        await make("/api/v1", "Service", "cache", {"selector": {"app": "redis"}, "ports": [{"port": 6379}]})
        await shown(client, lambda found: exposed(found, "Service cache", 2))
        backend = {"service": {"name": "cache", "port": {"number": 6379}}}
        await make("/apis/networking.k8s.io/v1", "Ingress", "front", {"defaultBackend": backend})
        after = await shown(client, lambda found: exposed(found, "Ingress front", 4))
        assert after["CVE-1"].spec.risk > before["CVE-1"].spec.risk


async def established(client: Client, name: str) -> None:
    async with asyncio.timeout(10):
        while not (await client.get(CustomResourceDefinition, name)).has("Established"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_exposure_follows_routes_of_the_gateway_api(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", DIGEST)
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}}
    names = {"plural": "httproutes", "singular": "httproute", "kind": "HTTPRoute", "listKind": "HTTPRouteList"}
    group = "gateway.networking.k8s.io"
    definition = {
        "metadata": {
            "name": f"httproutes.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
        },
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [{**version, "schema": schema}]},
    }
    path = f"/apis/{group}/v1/namespaces/default/httproutes"

    def exposed(found: dict[str, Finding], by: str) -> bool:
        return "CVE-1" in found and by in found["CVE-1"].spec.evidence.get("exposure", "")

    async with running(plane, findings, tmp_path):
        await client.patch(Pod, "one", "default", {"metadata": {"labels": {"app": "redis"}}})
        service = {"metadata": {"name": "cache"}, "spec": {"selector": {"app": "redis"}, "ports": [{"port": 6379}]}}
        await client.request("POST", "/api/v1/namespaces/default/services", body=service)
        await shown(client, lambda found: exposed(found, "Service cache"))
        await client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=definition)
        route = {"metadata": {"name": "front"}, "spec": {"rules": [{"backendRefs": [{"name": "cache"}]}]}}
        await established(client, f"httproutes.{group}")
        await client.request("POST", path, body={"apiVersion": f"{group}/v1", "kind": "HTTPRoute", **route})
        accepted = {"status": {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}}
        merge = "application/merge-patch+json"
        await client.request("PATCH", f"{path}/front/status", body=accepted, content_type=merge)
        await shown(client, lambda found: exposed(found, "HTTPRoute front"))
        await client.request("DELETE", f"{path}/front")
        await shown(client, lambda found: not exposed(found, "HTTPRoute front"))


async def test_data_that_nobody_looked_for_in_a_week_is_a_finding(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    with sqlite3.connect(data_file(tmp_path)) as base:
        base.execute("UPDATE feed SET checked = ?", (time.time() - 8 * 86400,))
    base.close()
    async with running(plane, findings, tmp_path):
        found = await shown(plane.client(), lambda found: "vulnerability-data-old" in found)
        assert found["vulnerability-data-old"].spec.evidence["days"] == "8"
        take(tmp_path, ("CVE-2", "redis", "2.0-1"))
        await shown(plane.client(), lambda found: "vulnerability-data-old" not in found)


async def test_rights_are_those_that_the_findings_about_accounts_say(findings: Findings) -> None:
    told: list[set[str]] = []
    rights = AccountRights(findings)
    task = asyncio.create_task(rights.follow(lambda accounts: told.append(set(accounts))))
    ref = Ref("v1", "ServiceAccount", "shop", "app")
    await findings.report([Report("access", "shop/app", (Found(Wrong(ALL_SECRETS, ref, "at once")),))])
    await until(lambda: rights("shop", "app") == ("reads every Secret",))
    wrong = tuple(Found(Wrong(check, ref, "at once")) for check in (ADMIN, ALL_SECRETS))
    await findings.report([Report("access", "shop/app", wrong)])
    await until(lambda: rights("shop", "app") == ("gets to cluster-admin",))
    await findings.report([Report("access", "shop/app", ())])
    await until(lambda: rights("shop", "app") == ())
    assert told == [{"shop/app"}] * 3
    task.cancel()
    await asyncio.wait([task])


async def test_vex_documents_of_kube_system_silence_and_say_by_whom(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", DIGEST)
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    product = {"@id": f"pkg:oci/redis@{DIGEST}", "subcomponents": [{"@id": "pkg:deb/debian/redis"}]}
    said = {"vulnerability": {"name": "CVE-1"}, "products": [product], "status": "not_affected"}
    text = json.dumps(head | {"statements": [said | {"justification": "component_not_present"}]})

    async def put(namespace: str, name: str, text: str) -> None:
        meta = {"name": name, "labels": {"images.guard.pilothouse.dev/vex": "acme"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"vex.json": text}}
        await client.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)

    async with running(plane, findings, tmp_path):
        await put("default", "own", text)
        await shown(client, lambda found: "CVE-1" in found)
        await put("kube-system", "broken", "{")
        await shown(client, lambda found: {"CVE-1", "vex-document-broken"} <= found.keys())
        await put("kube-system", "acme", text)
        await shown(client, lambda found: "CVE-1" not in found)
        (accepted,) = (await client.list(Finding, field_selector="status.state=accepted")).items
        assert accepted.spec.evidence["silenced-by"] == (
            "not_affected (component_not_present) says Acme, ConfigMap kube-system/acme"
        )
        await findings.reconsider()
        assert (await client.get(Finding, accepted.name, "default")).status.state == "accepted"
        for name in ("acme", "broken"):
            await client.request("DELETE", f"/api/v1/namespaces/kube-system/configmaps/{name}")
        await shown(client, lambda found: "CVE-1" in found and "vex-document-broken" not in found)


async def test_what_an_attached_sbom_says_is_in_the_findings(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    """The door has fetched it."""
    cache = LayerCache(tmp_path / LAYERS)
    packages = (Placed(Package("deb", "hidden", "1")),)
    cache.put_sboms(DIGEST, [("att", Inventory("SBOM", "sbom", packages=packages))])
    cache.close()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"), ("CVE-2", "hidden", "2"))
    await pod(plane.client(), "one", DIGEST)
    async with running(plane, findings, tmp_path):
        found = await shown(plane.client(), lambda found: {"CVE-1", "CVE-2"} <= found.keys())
    assert found["CVE-2"].spec.evidence["package"] == "deb/hidden 1"


async def test_attached_vex_is_heard_where_its_key_is_named_and_as_long_as_the_key_is_there(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    """The door has fetched it."""
    client = plane.client()
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = {"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "justification": "component_not_present"}
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    document = json.dumps(head | {"statements": [said]}).encode()
    take(tmp_path, ("CVE-1", "redis", "2.0-1"))
    await pod(client, "one", DIGEST)
    await client.create_tree(Namespace.resource, {"metadata": {"name": "default"}})
    keys = {"metadata": {"name": "image-signing-keys"}, "data": {"security": pem.decode()}}

    def heard(names: str | None) -> dict[str, Any]:
        return {"metadata": {"annotations": {"images.guard.pilothouse.dev/vex-signed-by": names}}}

    async with running(plane, findings, tmp_path):
        await shown(client, lambda found: "CVE-1" in found)
        cache = LayerCache(tmp_path / LAYERS)
        cache.put_vex(DIGEST, [Vouched(document, "att", (DIGEST,), public_key(pem, "").id, "security")])
        cache.close()
        await client.create_tree(ConfigMap.resource, keys, "kube-system")
        await client.patch(Namespace, "default", None, heard("security"))
        await shown(client, lambda found: "CVE-1" not in found)
        (accepted,) = (await client.list(Finding, field_selector="status.state=accepted")).items
        assert accepted.spec.evidence["silenced-by"] == (
            "not_affected (component_not_present) says Acme, attached as att, signed by security"
        )
        await client.patch(Namespace, "default", None, heard("other"))
        await shown(client, lambda found: "CVE-1" in found)
        await client.patch(Namespace, "default", None, heard("other, security"))
        await shown(client, lambda found: "CVE-1" not in found)
        await client.delete(ConfigMap, "image-signing-keys", "kube-system")
        await shown(client, lambda found: "CVE-1" in found)
