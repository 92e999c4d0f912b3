"""What the stock kubectl shows of denials and warnings."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubectl_runner import Kubectl

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.reader import StoreReader
from pilothouse.launch.door import GuardDoor
from pilothouse.launch.pki import ClusterPki
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

pytestmark = pytest.mark.system

POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replicas}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations: [{expression: object.spec.replicas <= 5}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: all}
spec: {policyName: replicas, validationActions: [ACTION]}
"""
PRIVILEGED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "i:1", securityContext: {privileged: true}}]}
"""
SAID = "ValidatingAdmissionPolicy 'replicas' with binding 'all'"


@pytest.fixture
async def run(kubectl: Path, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl against a server with the chain that a real one has."""
    pki = ClusterPki.open(tmp_path / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")
    store = MemoryStore()
    issuer = "https://kubernetes.default.svc.cluster.local"
    chain = build_chain(store, pki.service_account_key, issuer, (GuardDoor(StoreReader(store)),))
    async with ControlPlane(store=store, chain=chain) as plane:
        sock = socket.create_server(("127.0.0.1", 0))
        config = tmp_path / "kubeconfig"
        config.write_text(pki.admin_kubeconfig(f"https://127.0.0.1:{sock.getsockname()[1]}"))
        edge = HttpsEdge(plane.api.handle, pki.server_context())
        await edge.start([sock])
        kubectl_runs = Kubectl(kubectl, config, tmp_path)
        await kubectl_runs("create", "namespace", "default")
        yield kubectl_runs
        await edge.close()


async def test_a_denial_and_a_warning_by_a_policy(run: Kubectl) -> None:
    await run("apply", "-f", "-", stdin=POLICY.replace("ACTION", "Deny"))
    assert "replicas   1             <unset>" in await run("get", "validatingadmissionpolicies")
    denied = await run("create", "deployment", "web", "--image=i:1", "--replicas=6", fails=True)
    assert f"{SAID} denied request: failed expression: object.spec.replicas <= 5" in denied
    assert denied.startswith(("error: failed to create deployment: ", "The deployments"))
    await run("apply", "-f", "-", stdin=POLICY.replace("ACTION", "Warn"))
    process = await run.start("create", "deployment", "web", "--image=i:1", "--replicas=6")
    output, errors = await process.communicate()
    assert b"deployment.apps/web created" in output
    assert f"Warning: Validation failed for {SAID}: failed expression: object.spec.replicas <= 5" in errors.decode()


async def test_a_policy_that_does_not_compile(run: Kubectl) -> None:
    wrong = POLICY.replace("object.spec.replicas <= 5", "object.spec.replicas <=").replace("ACTION", "Deny")
    said = await run("apply", "-f", "-", stdin=wrong, fails=True)
    assert 'The ValidatingAdmissionPolicy "replicas" is invalid' in said
    assert "spec.validations[0].expression: Invalid value" in said
    assert "compilation failed: ERROR: <input>:1:24: Syntax error" in said


async def test_the_guard_refuses_and_warns(run: Kubectl) -> None:
    refused = await run("create", "-f", "-", stdin=PRIVILEGED, fails=True)
    assert refused.startswith("Error from server (Forbidden): ")
    assert 'deployments.apps "web" is forbidden: the guard found container-privileged (critical)' in refused
    process = await run.start("create", "deployment", "calm", "--image=i:1")
    output, errors = await process.communicate()
    assert b"deployment.apps/calm created" in output
    assert errors.decode().count("Warning: guard: ") == 4
