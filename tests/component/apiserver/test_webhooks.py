"""Admission webhooks, asked over real HTTPS on loopback."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from admission_plane import AdmissionPlane
from aiohttp import web
from edge_certificates import Certificates

from pilothouse.apiserver import codec
from pilothouse.client.wire import User
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.errors import ApiError, Forbidden, InternalError
from pilothouse.machinery.objects import Obj

MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"
PODS = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]
Say = Callable[[Obj], Obj | None]


class Webhook:
    """An HTTPS server; `say` makes the response from the request, None never answers. `asked` holds the reviews."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.say: Say = lambda request: {}
        self.asked: list[Obj] = []
        self.port = 0
        self._never = asyncio.Event()

    async def start(self, host: str = "") -> None:
        app = web.Application()
        app.router.add_post("/{name}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening, ssl_context=self.certificates.server_context(host)).start()

    async def stop(self) -> None:
        self._never.set()
        await self._runner.cleanup()

    async def _answer(self, received: web.Request) -> web.Response:
        review = await received.json()
        self.asked.append({**review["request"], "webhook": received.match_info["name"], **dict(received.query)})
        response = self.say(self.asked[-1])
        if response is None:
            await self._never.wait()
            response = {}
        body = {**review, "request": None, "response": {"uid": review["request"]["uid"], "allowed": True, **response}}
        return web.json_response(body)

    def entry(self, name: str = "a", rules: list[Obj] | None = None, **fields: Any) -> Obj:
        bundle = base64.b64encode(self.certificates.ca.read_bytes()).decode()
        return {
            "name": f"{name}.example.com",
            "rules": rules or PODS,
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{name}", "caBundle": bundle},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **fields,
        }


@pytest.fixture
async def api() -> AsyncIterator[AdmissionPlane]:
    async with AdmissionPlane() as running:
        yield running


@pytest.fixture
async def hook(certificates: Certificates) -> AsyncIterator[Webhook]:
    running = Webhook(certificates)
    await running.start()
    yield running
    await running.stop()


def pod(name: str = "p", **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}


def patch(*operations: Obj) -> Obj:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(list(operations))).decode()}


def label(key: str, value: str) -> Obj:
    return patch({"op": "add", "path": f"/metadata/labels/{key}", "value": value})


async def test_a_review_says_what_is_asked(api: AdmissionPlane, hook: Webhook) -> None:
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry()]})
    await api.create("pods", pod(a="b"), user=User("jane", ("system:masters",)), fieldManager="me")
    (asked,) = hook.asked
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert asked["requestResource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (asked["operation"], asked["namespace"], asked["name"]) == ("CREATE", "default", "p")
    assert asked["userInfo"] == {"username": "jane", "groups": ["system:masters", "system:authenticated"]}
    assert asked["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    assert asked["object"]["spec"]["serviceAccountName"] == "default"  # what other steps made of it
    assert (asked["oldObject"], asked["dryRun"], asked["timeout"]) == (None, False, "10s")
    await api.patch("pods", "p", {"metadata": {"labels": {"a": "c"}}})
    assert hook.asked[-1]["oldObject"]["metadata"]["labels"] == {"a": "b"}
    await api.delete("pods", "p")
    assert (hook.asked[-1]["operation"], hook.asked[-1]["object"]) == ("DELETE", None)


async def test_a_refusal_reads_as_upstreams(api: AdmissionPlane, hook: Webhook) -> None:
    hook.say = lambda request: {"allowed": False, "status": {"code": 403, "message": "no pods today"}}
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry()]})
    with pytest.raises(ApiError) as caught:
        await api.create("pods", pod())
    assert str(caught.value) == 'admission webhook "a.example.com" denied the request: no pods today'
    assert isinstance(caught.value, Forbidden)
    hook.say = lambda request: {"allowed": False}
    with pytest.raises(ApiError, match="denied the request without explanation"):
        await api.create("pods", pod())


async def test_warnings_and_annotations(api: AdmissionPlane, hook: Webhook) -> None:
    hook.say = lambda request: {"warnings": ["mind the gap"], "auditAnnotations": {"seen": "yes"}}
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry()]})
    await api.create("pods", pod())
    assert api.warnings == ["mind the gap"]
    assert api.annotations["a.example.com/seen"] == "yes"


async def test_patches_are_applied_in_order_and_defaults_filled_in(api: AdmissionPlane, hook: Webhook) -> None:
    def say(request: Obj) -> Obj:
        if request["webhook"] == "a":
            sidecar = {"name": "sidecar", "image": "s:1"}
            return patch({"op": "add", "path": "/spec/containers/-", "value": sidecar})
        containers = len(request["object"]["spec"]["containers"])
        return label("containers", str(containers))

    hook.say = say
    entries = [hook.entry("a"), hook.entry("b")]
    await api.create(MUTATING, {"metadata": {"name": "w"}, "webhooks": entries})
    made = await api.create("pods", pod(x="y"))
    assert made["metadata"]["labels"] == {"x": "y", "containers": "2"}
    sidecar = made["spec"]["containers"][1]
    assert sidecar["imagePullPolicy"] == "IfNotPresent"
    assert sidecar["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert '"mutated":true' in api.annotations["mutation.webhook.admission.k8s.io/round_0_index_0"]


async def test_a_webhook_is_asked_again_when_a_later_one_changed_something(api: AdmissionPlane, hook: Webhook) -> None:
    hook.say = lambda request: label(request["webhook"], str(len(request["object"]["metadata"]["labels"])))
    again = hook.entry("a", reinvocationPolicy="IfNeeded")
    await api.create(MUTATING, {"metadata": {"name": "w"}, "webhooks": [again, hook.entry("b")]})
    made = await api.create("pods", pod(x="y"))
    assert [asked["webhook"] for asked in hook.asked] == ["a", "b", "a"]
    assert made["metadata"]["labels"] == {"x": "y", "a": "3", "b": "2"}


async def test_what_a_webhook_makes_is_checked(api: AdmissionPlane, hook: Webhook) -> None:
    await api.create(MUTATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry()]})
    hook.say = lambda request: patch({"op": "replace", "path": "/spec/containers", "value": "none"})
    with pytest.raises(InternalError, match="admission made an object that is none"):
        await api.create("pods", pod())
    hook.say = lambda request: patch({"op": "remove", "path": "/nope"})
    with pytest.raises(InternalError, match="Internal error occurred"):
        await api.create("pods", pod())
    hook.say = lambda request: patch({"op": "replace", "path": "/metadata/namespace", "value": "kube-system"})
    assert (await api.create("pods", pod()))["metadata"]["namespace"] == "default"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ({"uid": "other"}, "received invalid webhook response: expected response.uid="),
        ({"patch": "e30="}, "webhook returned response.patch but not response.patchType"),
        ({"patch": "e30=", "patchType": "Merge"}, "invalid value of response.patchType"),
        ({"patch": "!", "patchType": "JSONPatch"}, "received undecodable patch in webhook response"),
    ],
)
async def test_answers_that_are_none(api: AdmissionPlane, hook: Webhook, response: Obj, why: str) -> None:
    hook.say = lambda request: response
    await api.create(MUTATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry()]})
    with pytest.raises(InternalError) as caught:
        await api.create("pods", pod())
    assert str(caught.value).startswith('Internal error occurred: failed calling webhook "a.example.com": ')
    assert why in str(caught.value)


async def test_one_that_is_away_follows_its_failure_policy(api: AdmissionPlane, hook: Webhook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/x"
    entry = hook.entry(clientConfig={"url": url})
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [entry]})
    with pytest.raises(InternalError) as caught:
        await api.create("pods", pod())
    assert f'failed to call webhook: Post "{url}?timeout=10s": ' in str(caught.value)
    await api.patch(VALIDATING, "w", {"webhooks": [{**entry, "failurePolicy": "Ignore"}]})
    await api.create("pods", pod())
    assert api.annotations["failed-open.validating.webhook.admission.k8s.io/round_0_index_0"] == "a.example.com"


async def test_one_that_is_late_is_not_waited_for(api: AdmissionPlane, hook: Webhook) -> None:
    hook.say = lambda request: None
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry(timeoutSeconds=1)]})
    with pytest.raises(InternalError, match="context deadline exceeded"):
        await api.create("pods", pod())


async def test_a_certificate_of_another_authority_is_not_trusted(api: AdmissionPlane, hook: Webhook) -> None:
    entry = hook.entry()
    del entry["clientConfig"]["caBundle"]
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [entry]})
    with pytest.raises(InternalError, match="certificate verify failed"):
        await api.create("pods", pod())
    assert hook.asked == []


async def test_selectors_conditions_and_rules(api: AdmissionPlane, hook: Webhook) -> None:
    conditions = [{"name": "not-root", "expression": "request.userInfo.username != 'root'"}]
    entry = hook.entry(objectSelector={"matchLabels": {"ask": "yes"}}, matchConditions=conditions)
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [entry]})
    await api.create("pods", pod("a"))
    await api.create("pods", pod("b", ask="yes"), user=User("root", ("system:masters",)))
    await api.create("configmaps", {"metadata": {"name": "c", "labels": {"ask": "yes"}}})
    assert hook.asked == []
    await api.create("pods", pod("d", ask="yes"))
    assert [asked["name"] for asked in hook.asked] == ["d"]
    broken = [{"name": "x", "expression": "object.spec.nope"}]
    await api.patch(VALIDATING, "w", {"webhooks": [{**entry, "matchConditions": broken}]})
    with pytest.raises(Forbidden, match="resulted in error: no such key: nope"):
        await api.create("pods", pod("e", ask="yes"))


async def test_dry_run(api: AdmissionPlane, hook: Webhook) -> None:
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry(sideEffects="NoneOnDryRun")]})
    await api.create("pods", pod(), dryRun="All")
    assert hook.asked[0]["dryRun"] is True


async def test_a_webhook_behind_a_service(api: AdmissionPlane, hook: Webhook) -> None:
    await hook.stop()
    await hook.start("hook.default.svc")
    client = {"service": {"name": "hook", "namespace": "default", "path": "/a", "port": 8443}}
    entry = hook.entry()
    entry["clientConfig"] = {**client, "caBundle": entry["clientConfig"]["caBundle"]}
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [entry]})
    with pytest.raises(InternalError, match='service "hook" not found'):
        await api.create("pods", pod())
    ports = [{"name": "https", "port": 8443, "targetPort": hook.port}]
    await api.create("services", {"metadata": {"name": "hook"}, "spec": {"ports": ports, "selector": {"a": "b"}}})
    with pytest.raises(InternalError, match='no endpoints available for service "hook"'):
        await api.create("pods", pod())
    labels = {"kubernetes.io/service-name": "hook"}
    endpoints: Obj = {
        "metadata": {"name": "hook-1", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": hook.port, "protocol": "TCP"}],
    }
    # The API takes no loopback address, which is all there is here.
    value = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **endpoints}
    value["metadata"]["namespace"] = "default"
    await api.plane.store.create(codec.key(EndpointSlice.resource, "default", "hook-1"), codec.encode(value))
    await api.create("pods", pod())
    assert [asked["name"] for asked in hook.asked] == ["p"]


async def test_nobody_is_locked_out(api: AdmissionPlane, hook: Webhook) -> None:
    hook.say = lambda request: {"allowed": False}
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]
    await api.create(VALIDATING, {"metadata": {"name": "w"}, "webhooks": [hook.entry(rules=everything)]})
    node = User("system:node:n1", ("system:nodes",))
    await api.create("leases", {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {}}, user=node)
    await api.create("nodes", {"metadata": {"name": "n1"}}, user=node)
    with pytest.raises(ApiError, match="denied the request"):
        await api.create("configmaps", {"metadata": {"name": "x"}})
    await api.patch(VALIDATING, "w", {"metadata": {"labels": {"still": "ours"}}})
    await api.delete(VALIDATING, "w")
    await api.create("configmaps", {"metadata": {"name": "x"}})
