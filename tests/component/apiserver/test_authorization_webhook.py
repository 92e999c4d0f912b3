"""A webhook that decides who may do what, asked over TLS as an AuthorizationConfiguration says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web
from edge_certificates import Certificates

from pilothouse.apiserver.authorization.webhook.config import read_settings
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.settings_file import InvalidSettings, SettingsFile
from pilothouse.client.wire import Request, User
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

ANN = User("ann", ("dev",))
MAPS = "/api/v1/namespaces/ns/configmaps"


class Hook:
    """Answers SubjectAccessReviews, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.callers: list[str] = []
        self.answer: dict[str, Any] = {"allowed": True}
        self.status = 200
        self.silent: asyncio.Event | None = None

    async def decide(self, request: web.Request) -> web.Response:
        tree = await request.json()
        self.asked.append(tree["spec"])
        certificate = request.get_extra_info("peercert") or {}
        self.callers += [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if self.silent is not None:
            await self.silent.wait()
        return web.json_response({**tree, "status": self.answer}, status=self.status)


class Cluster:
    def __init__(self, path: Path, hook: Hook) -> None:
        self.path = path
        self.hook = hook
        self.now = 1000.0
        self.plane: ControlPlane

    def configure(self, *authorizers: dict[str, Any]) -> None:
        self.path.write_text(yaml.safe_dump(configuration(*authorizers)))
        self.now += 2

    async def status(self, path: str = MAPS, user: User = ANN) -> int:
        return (await self.plane.transport(user).send(Request("GET", path))).status


def configuration(*authorizers: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": list(authorizers),
    }


def webhook(**others: Any) -> dict[str, Any]:
    fields = {
        "timeout": "3s",
        "failurePolicy": "Deny",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "authorizedTTL": "60s",
        "unauthorizedTTL": "60s",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "hook.kubeconfig"},
        **others,
    }
    return {"type": "Webhook", "name": "hook", "webhook": fields}


RBAC = {"type": "RBAC", "name": "rbac"}


@pytest.fixture
async def cluster(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Cluster]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/decide", hook.decide)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.server_context()).start()
    certificate, key = certificates.issue("the-api", "the-api")
    kubeconfig = {
        "current-context": "hook",
        "contexts": [{"name": "hook", "context": {"cluster": "hook", "user": "api"}}],
        "clusters": [
            {
                "name": "hook",
                "cluster": {
                    "server": f"https://127.0.0.1:{runner.addresses[0][1]}/decide",
                    "certificate-authority": str(certificates.ca),
                },
            }
        ],
        "users": [{"name": "api", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
    }
    (tmp_path / "hook.kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    path = tmp_path / "authorization.yaml"
    path.write_text(yaml.safe_dump(configuration(webhook(), RBAC)))
    store = MemoryStore()
    found = Cluster(path, hook)
    file = SettingsFile(path, lambda tree: read_settings(tree, tmp_path), None, lambda: found.now)
    issuer = "https://kubernetes.default.svc"
    chain = build_chain(store, key_pem(new_key()), issuer, authorization=file.current)
    async with ControlPlane(store=store, chain=chain) as plane:
        found.plane = plane
        yield found
    await runner.cleanup()


async def test_the_webhook_is_asked_as_upstream_asks_it(cluster: Cluster) -> None:
    user = User("ann", ("dev", "system:authenticated"), "u1", {"example.org/a": ("b",)})
    assert await cluster.status(f"{MAPS}/one", user) == 404
    assert await cluster.status("/version", user) == 200
    common = {
        "user": "ann",
        "groups": ["dev", "system:authenticated"],
        "uid": "u1",
        "extra": {"example.org/a": ["b"]},
    }
    what = {"namespace": "ns", "verb": "get", "version": "v1", "resource": "configmaps", "name": "one"}
    assert cluster.hook.asked == [
        {"resourceAttributes": what, **common},
        {"nonResourceAttributes": {"path": "/version", "verb": "get"}, **common},
    ]
    assert cluster.hook.callers == ["the-api", "the-api"]


async def test_allowed_denied_and_no_opinion(cluster: Cluster) -> None:
    rule = {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}
    client = cluster.plane.client()
    await client.create_tree(ClusterRole.resource, {"metadata": {"name": "r"}, "rules": [rule]})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}
    await client.create_tree(
        ClusterRoleBinding.resource, {"metadata": {"name": "r"}, "roleRef": ref, "subjects": [subject]}
    )
    cluster.configure(webhook(unauthorizedTTL="0s"), RBAC)
    cluster.hook.answer = {"allowed": False, "reason": "not me"}
    assert await cluster.status() == 200
    assert await cluster.status("/api/v1/namespaces/ns/secrets") == 403
    cluster.hook.answer = {"allowed": False, "denied": True, "reason": "never"}
    refused = await cluster.plane.transport(ANN).send(Request("GET", MAPS))
    assert refused.status == 403
    assert orjson.loads(refused.body)["message"].endswith(": never")


async def test_answers_are_remembered_for_their_time(cluster: Cluster) -> None:
    assert [await cluster.status() for _ in range(3)] == [200] * 3
    assert len(cluster.hook.asked) == 1
    cluster.configure(webhook(cacheAuthorizedRequests=False), RBAC)
    assert [await cluster.status() for _ in range(3)] == [200] * 3
    assert len(cluster.hook.asked) == 4


@pytest.mark.parametrize("policy", ["Deny", "NoOpinion"])
async def test_a_webhook_that_fails(cluster: Cluster, policy: str) -> None:
    cluster.configure(webhook(failurePolicy=policy), {**webhook(), "name": "second"})
    cluster.hook.status = 500
    assert await cluster.status() == 403
    assert len(cluster.hook.asked) == (1 if policy == "Deny" else 2)
    cluster.hook.status, cluster.hook.answer = 200, {"allowed": "yes"}
    assert await cluster.status() == 403
    cluster.hook.answer = {"allowed": True, "denied": True}
    assert await cluster.status() == 403
    cluster.hook.answer = {"allowed": True}
    assert await cluster.status() == 200


async def test_a_webhook_that_does_not_answer_in_time(cluster: Cluster) -> None:
    cluster.configure(webhook(timeout="100ms"), RBAC)
    cluster.hook.silent = asyncio.Event()
    assert await cluster.status() == 403
    cluster.hook.silent.set()


async def test_match_conditions_spare_the_webhook(cluster: Cluster) -> None:
    mine = {"expression": "has(request.resourceAttributes) && request.resourceAttributes.namespace == 'ns'"}
    cluster.configure(webhook(matchConditions=[mine, {"expression": "!('ops' in request.groups)"}]), RBAC)
    assert await cluster.status() == 200
    assert await cluster.status("/api/v1/namespaces/other/configmaps") == 403
    assert await cluster.status(user=User("bob", ("ops",))) == 403
    assert len(cluster.hook.asked) == 1
    second = {**webhook(), "name": "second"}
    cluster.configure(webhook(matchConditions=[{"expression": "request.uid != ''"}]))
    assert await cluster.status(user=User("eve", uid="u")) == 200
    # One without: the condition fails, which denies as the failure policy says.
    assert await cluster.status(user=User("eve")) == 403
    cluster.configure(webhook(matchConditions=[{"expression": "request.uid != ''"}], failurePolicy="NoOpinion"), second)
    assert await cluster.status(user=User("eve")) == 200


async def test_nobody_is_locked_out_of_the_clusters_own(cluster: Cluster) -> None:
    cluster.hook.answer = {"allowed": False, "denied": True}
    cluster.configure(webhook())
    assert await cluster.status(user=User("root", ("system:masters",))) == 200
    assert await cluster.status("/api/v1/nodes", User("system:node:n1", ("system:nodes",))) == 200
    assert await cluster.status(user=User("system:controller:x")) == 403
    assert cluster.hook.asked == []


async def test_the_review_says_denied(cluster: Cluster) -> None:
    cluster.hook.answer = {"allowed": False, "denied": True, "reason": "never"}
    ask = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}, "user": "ann"}
    root = User("root", ("system:masters",))
    body = orjson.dumps({"spec": ask})
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    headers = {"content-type": "application/json"}
    reply = await cluster.plane.transport(root).send(Request("POST", path, [], headers, body))
    assert orjson.loads(reply.body)["status"] == {"allowed": False, "denied": True, "reason": "never"}


@pytest.mark.parametrize(
    ("authorizers", "why"),
    [
        ([], "at least one"),
        ([{"type": "AlwaysAllow", "name": "a"}], "none of Webhook, Node, RBAC"),
        ([RBAC, {**RBAC, "name": "again"}], "may be there once"),
        ([RBAC, RBAC], "must be there, and once"),
        ([webhook(timeout="31s")], "at most 30s"),
        ([webhook(timeout="soon")], "no length of time"),
        ([webhook(failurePolicy="Allow")], "neither Deny nor NoOpinion"),
        ([webhook(matchConditions=[{"expression": "request."}])], "matchConditions"),
        ([webhook(connectionInfo={"type": "InClusterConfig"})], "KubeConfigFile"),
        ([webhook(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "none"})], "No such file"),
        ([webhook(subjectAccessReviewVersion="v1beta1")], "must be v1"),
        ([webhook(tineout="3s")], "unknown field `tineout`"),
    ],
)
async def test_what_cannot_be_used_is_named(cluster: Cluster, authorizers: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(InvalidSettings, match=why):
        read_settings(configuration(*authorizers), cluster.path.parent)
    cluster.path.write_text(yaml.safe_dump(configuration(*authorizers)))
    cluster.now += 2
    assert await cluster.status() == 200
