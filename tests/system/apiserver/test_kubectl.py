"""The stock kubectl 1.35 over TLS against the server alone: nobody acts on what is written here."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from kubectl_runner import Kubectl

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.testing.control_plane import ControlPlane

pytestmark = pytest.mark.system

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example.com/web}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


async def test_apply_get_describe_patch_scale_delete(run: Kubectl) -> None:
    assert "deployment.apps/web created" in await run("apply", "-f", "-", stdin=WEB)
    assert "deployment.apps/web unchanged" in await run("apply", "-f", "-", stdin=WEB)
    changed = await run("apply", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 4"))
    assert "deployment.apps/web configured" in changed
    listed = await run("get", "deploy,svc", "-o", "wide")
    assert "0/4" in listed
    assert "10.96." in listed
    assert "Replicas:               4 desired" in await run("describe", "deploy", "web")
    assert "patched" in await run("patch", "deploy", "web", "-p", '{"spec":{"paused":true}}')
    assert "scaled" in await run("scale", "deploy", "web", "--replicas", "6", "--current-replicas", "4")
    web = orjson.loads(await run("get", "deploy", "web", "-o", "json"))
    assert (web["spec"]["replicas"], web["spec"]["paused"]) == (6, True)
    assert "deleted" in await run("delete", "deploy,svc", "web")
    assert "NotFound" in await run("get", "deploy", "web", fails=True)


async def test_server_side_apply_names_the_manager_in_a_conflict(run: Kubectl) -> None:
    await run("apply", "--server-side", "--field-manager", "one", "-f", "-", stdin=WEB)
    other = WEB.replace("replicas: 2", "replicas: 3")
    refused = await run("apply", "--server-side", "--field-manager", "two", "-f", "-", stdin=other, fails=True)
    assert 'conflict with "one": .spec.replicas' in refused
    await run("apply", "--server-side", "--field-manager", "two", "--force-conflicts", "-f", "-", stdin=other)
    diff = await run("diff", "-f", "-", stdin=WEB, fails=True)
    assert diff == ""


async def test_watch_and_wait_see_changes(run: Kubectl, plane: ControlPlane) -> None:
    await run("apply", "-f", "-", stdin=WEB)
    watching = await run.start("get", "deploy", "web", "--watch", "--no-headers")
    assert watching.stdout is not None
    assert b"0/2" in await watching.stdout.readline()
    waiting = await run.start("wait", "--for=condition=Available", "deploy/web", "--timeout=20s")
    status = {"conditions": [{"type": "Available", "status": "True"}], "readyReplicas": 2, "replicas": 2}
    await plane.client().patch(Deployment, "web", "default", {"status": status}, subresource="status")
    async with asyncio.timeout(20):
        assert b"2/2" in await watching.stdout.readline()
        output, _ = await waiting.communicate()
    assert output == b"deployment.apps/web condition met\n"
    watching.kill()
    await watching.wait()


async def test_mistakes_are_named(run: Kubectl) -> None:
    unknown = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {k: v}}"
    assert 'unknown field "dta"; did you mean "data"' in await run("apply", "-f", "-", stdin=unknown, fails=True)
    invalid = await run("create", "deploy", "Web", "--image", "x", fails=True)
    assert 'Deployment.apps "Web" is invalid' in invalid
    assert "a lowercase RFC 1123 subdomain" in invalid


async def test_a_list_is_applied_and_its_items_are_checked_by_the_server(run: Kubectl) -> None:
    item = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}"
    items = f"apiVersion: v1\nkind: List\nitems: [{item}]\n"
    assert "configmap/a created" in await run("apply", "-f", "-", stdin=items)
    wrong = items.replace(" data:", " dta:")
    assert 'unknown field "dta"' in await run("apply", "-f", "-", stdin=wrong, fails=True)


async def test_typed_creates_and_explain(run: Kubectl) -> None:
    await run("create", "configmap", "a", "--from-literal", "k=v")
    await run("create", "secret", "generic", "s", "--from-literal", "password=x")
    await run("create", "namespace", "n")
    await run("create", "serviceaccount", "robot", "-n", "n")
    assert "robot" in await run("get", "sa", "-A")
    assert "v" in await run("get", "cm", "a", "-o", "jsonpath={.data.k}")
    assert "FIELD: strategy <DeploymentStrategy>" in await run("explain", "deployment.spec.strategy")
    assert "deployments" in await run("api-resources", "--api-group=apps")
    assert "v1.35" in await run("version")


async def test_many_objects_come_in_pages(run: Kubectl) -> None:
    maps = "\n---\n".join(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m{n:03}}}}}" for n in range(30))
    await run("create", "-f", "-", stdin=maps)
    listed = await run("get", "cm", "--chunk-size=7", "-o", "name")
    assert listed.count("configmap/") == 30
