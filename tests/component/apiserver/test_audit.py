"""The audit log of a running server: who did what, bounded, without secrets, off the way of requests."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from custom_things import call

from pilothouse.apiserver.audit.log import AuditLog
from pilothouse.apiserver.audit.policy import Policy, default_policy
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.client.client import Client
from pilothouse.client.wire import HandlerTransport, Request, User
from pilothouse.launch.pki import ClusterPki
from pilothouse.machinery.errors import ApiError, Forbidden, NotFound
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

EVERYTHING: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [{"level": "RequestResponse"}],
}
SECRET = "correct-horse-battery-staple"


class Audited:
    def __init__(self, plane: ControlPlane, log: AuditLog, file: Path) -> None:
        self.plane = plane
        self.log = log
        self.file = file

    def client(self, name: str = "ann", *groups: str) -> Client:
        return Client(HandlerTransport(self.plane.api.handle, User(name, groups)), user_agent="test/1")

    def events(self) -> list[dict[str, Any]]:
        """All that was recorded; the log is closed."""
        self.log.close()
        return [orjson.loads(line) for line in self.file.read_bytes().splitlines()]


def audited(tmp_path: Path, policy: Policy, **limits: int) -> Audited:
    file = tmp_path / "audit" / "audit.log"
    log = AuditLog(file, policy, **limits)
    store = MemoryStore()
    pki = ClusterPki.open(tmp_path / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")
    chain = build_chain(store, pki.service_account_key, "https://issuer")
    return Audited(ControlPlane(store=store, chain=chain, audit=log), log, file)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Audited]:
    made = audited(tmp_path, default_policy(["system:controller:x"]))
    await call(made.client("root", "system:masters"), "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    yield made
    made.log.close()


async def test_who_did_what_and_whether_they_might(world: Audited) -> None:
    root, ann = world.client("root", "system:masters"), world.client()
    config = {"metadata": {"generateName": "c-"}, "data": {"a": "b"}}
    await call(root, "POST", "/api/v1/namespaces/ns/configmaps", config, fieldManager="me")
    with pytest.raises(Forbidden):
        await call(ann, "DELETE", "/api/v1/namespaces/ns/configmaps/x")
    with pytest.raises(NotFound):
        await call(root, "GET", "/api/v1/namespaces/ns/configmaps/x")
    await world.plane.api.handle(
        Request(
            "GET",
            "/api/v1/namespaces/ns/pods",
            headers={"impersonate-user": "bob"},
            user=User("root", ("system:masters",)),
            remote="192.0.2.7",
        )
    )
    namespace, created, refused, missing, impersonated = world.events()
    assert (namespace["objectRef"]["name"], namespace["verb"]) == ("ns", "create")
    assert created["requestURI"] == "/api/v1/namespaces/ns/configmaps?fieldManager=me"
    assert created["objectRef"]["name"].startswith("c-")
    assert (created["level"], created["stage"], created["userAgent"]) == ("Metadata", "ResponseComplete", "test/1")
    assert created["responseStatus"]["code"] == 201
    assert created["annotations"] == {"authorization.k8s.io/decision": "allow"}
    assert refused["user"]["username"] == "ann"
    assert refused["annotations"] == {"authorization.k8s.io/decision": "forbid"}
    assert refused["responseStatus"]["reason"] == "Forbidden"
    assert missing["responseStatus"]["code"] == 404
    assert (impersonated["user"]["username"], impersonated["impersonatedUser"]["username"]) == ("root", "bob")
    assert impersonated["sourceIPs"] == ["192.0.2.7"]
    assert stat.S_IMODE(world.file.stat().st_mode) == 0o600


async def test_no_secret_is_recorded_whatever_the_policy(tmp_path: Path) -> None:
    world = audited(tmp_path, Policy({**EVERYTHING, "omitStages": ["RequestReceived"]}))
    root = world.client("root", "system:masters")
    await call(root, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    secrets = "/api/v1/namespaces/ns/secrets"
    await call(root, "POST", secrets, {"metadata": {"name": "s"}, "stringData": {"password": SECRET}})
    await call(root, "GET", f"{secrets}/s")
    await call(root, "PATCH", f"{secrets}/s", {"stringData": {"x": SECRET}}, type="application/merge-patch+json")
    with pytest.raises(ApiError):
        await call(root, "POST", secrets, {"metadata": {"name": "Bad Name"}, "stringData": {"password": SECRET}})
    await call(root, "POST", "/api/v1/namespaces/ns/configmaps", {"metadata": {"name": "c"}, "data": {"a": "b"}})
    headers = {"authorization": f"Bearer {SECRET}"}
    await world.plane.api.handle(Request("GET", "/api/v1/namespaces/ns/pods", headers=headers))
    events = world.events()
    assert SECRET not in world.file.read_text()
    assert [event["level"] for event in events if event["objectRef"]["resource"] == "secrets"] == ["Metadata"] * 4
    configmap = next(event for event in events if event["objectRef"]["resource"] == "configmaps")
    assert configmap["requestObject"]["data"] == configmap["responseObject"]["data"] == {"a": "b"}
    assert events[-1]["responseStatus"]["code"] == 401


async def test_the_log_is_rotated_and_bounded(tmp_path: Path) -> None:
    world = audited(tmp_path, default_policy(["system:controller:x"]), file_bytes=150_000, files=3)
    root = world.client("root", "system:masters")
    await call(root, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    for _ in range(1000):
        await root.send("GET", "/api/v1/namespaces/ns/pods")
    world.log.close()
    sizes = {path.name: path.stat().st_size for path in world.file.parent.iterdir()}
    assert sizes.keys() == {"audit.log", "audit.log.1", "audit.log.2"}
    assert max(sizes.values()) <= 150_000
    assert world.log.dropped == 0
    assert world.log.written == 1001


async def test_a_log_that_cannot_be_written_holds_nobody_up(tmp_path: Path) -> None:
    world = audited(tmp_path, default_policy(["system:controller:x"]))
    world.file.mkdir()
    root = world.client("root", "system:masters")
    await call(root, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    world.log.close()
    assert world.log.dropped == 1
    metrics = (await root.send("GET", "/metrics")).body.decode()
    assert 'pilothouse_audit_events_total{outcome="dropped"} 1' in metrics


async def test_a_watch_is_recorded_when_it_starts(world: Audited) -> None:
    response = await world.client("root", "system:masters").send(
        "GET", "/api/v1/namespaces/ns/pods", query=[("watch", "true"), ("timeoutSeconds", "1")]
    )
    assert response.stream is not None
    event = world.events()[-1]
    assert (event["verb"], event["stage"]) == ("watch", "ResponseStarted")


async def test_every_stage_is_recorded_under_the_same_name(tmp_path: Path) -> None:
    world = audited(tmp_path, Policy(EVERYTHING))
    root = User("root", ("system:masters",))
    path = "/api/v1/namespaces/default/configmaps"
    answer = await world.plane.api.handle(Request("GET", path, headers={"audit-id": "mine"}, user=root))
    assert answer.headers["audit-id"] == "mine"
    watch = await world.plane.api.handle(Request("GET", path, [("watch", "1"), ("timeoutSeconds", "1")], user=root))
    assert watch.stream is not None
    assert [piece async for piece in watch.stream] == []
    events = world.events()
    assert [event["stage"] for event in events if event["auditID"] == "mine"] == ["RequestReceived", "ResponseComplete"]
    found = [event for event in events if event["auditID"] == watch.headers["audit-id"]]
    assert [event["stage"] for event in found] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert "responseStatus" not in found[0]
    assert found[2]["responseStatus"]["code"] == 200
    assert found[1]["stageTimestamp"] < found[2]["stageTimestamp"]


async def test_nobody_hides_behind_a_part_of_the_engine(world: Audited) -> None:
    await world.plane.api.handle(
        Request(
            "GET",
            "/api/v1/namespaces/ns/secrets",
            headers={"impersonate-user": "system:controller:x"},
            user=User("root", ("system:masters",)),
        )
    )
    hidden = world.events()[-1]
    assert (hidden["user"]["username"], hidden["objectRef"]["resource"]) == ("root", "secrets")


async def test_bodies_are_recorded_whatever_they_were_sent_as(tmp_path: Path) -> None:
    omitting = {**EVERYTHING, "omitManagedFields": True}
    world = audited(tmp_path, Policy(omitting))
    headers = {"content-type": "application/yaml"}
    body = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n"
    root = User("root", ("system:masters",))
    await world.plane.api.handle(Request("POST", "/api/v1/namespaces", headers=headers, body=body, user=root))
    await world.plane.api.handle(Request("GET", "/api/v1/namespaces", user=root))
    created, listed = (event for event in world.events() if event["stage"] == "ResponseComplete")
    assert created["requestObject"]["metadata"] == {"name": "n"}
    assert "managedFields" not in created["responseObject"]["metadata"]
    assert [item["metadata"]["name"] for item in listed["responseObject"]["items"]] == ["n"]
    assert all("managedFields" not in item["metadata"] for item in listed["responseObject"]["items"])


async def test_a_failure_of_the_server_is_a_panic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = audited(tmp_path, Policy(EVERYTHING))

    def broken(prefix: str) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(world.plane.store, "list", broken)
    answer = await world.plane.api.handle(Request("GET", "/api/v1/pods", user=User("root", ("system:masters",))))
    assert answer.status == 500
    assert [event["stage"] for event in world.events()] == ["RequestReceived", "Panic"]
