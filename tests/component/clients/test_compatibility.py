"""Every kind with every client, and the page that says so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acted_on import ACTED_ON
from adapters import Adapter, Kr8s, Lightkube, NotOffered, PythonDynamic, PythonTyped
from kubectl import Kubectl
from kubernetes import config
from kubernetes.client import CoreV1Api
from manifest import STANDARD, kind_of, objects
from page import PAGE, Matrix
from tools import tools

from pilothouse.testing.served_cluster import ServedCluster

HTTP_CLIENTS: tuple[Callable[[Path], Adapter], ...] = (PythonTyped, PythonDynamic, Lightkube, Kr8s)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix()


@pytest.fixture(scope="module")
def kubectl(cluster: ServedCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(tools().kubectl, cluster.kubeconfig, tmp_path_factory.mktemp("kubectl"))


def test_there_is_an_object_of_every_kind() -> None:
    assert {kind_of(tree).resource for tree in objects("ns")} == {kind.resource for kind in STANDARD}
    assert ACTED_ON.keys() == {(kind.resource.api_version, kind.resource.kind) for kind in STANDARD}


def test_kubectl(matrix: Matrix, kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", "with-kubectl")
    trees = objects("with-kubectl", matrix="kubectl")
    outcomes = kubectl.try_all(trees)
    for verb, done in outcomes.items():
        for index, outcome in done.items():
            matrix.note("kubectl 1.35", kind_of(trees[index]), verb, outcome)
    assert not {(verb, trees[i]["kind"]): said for verb, done in outcomes.items() for i, said in done.items() if said}


@pytest.mark.parametrize("make", HTTP_CLIENTS)
def test_client(make: Callable[[Path], Adapter], matrix: Matrix, cluster: ServedCluster, kubectl: Kubectl) -> None:
    adapter = make(cluster.kubeconfig)
    label = type(adapter).__name__.lower()
    kubectl.run("create", "namespace", f"with-{label}")
    failed: dict[tuple[str, str], str] = {}
    for tree in objects(f"with-{label}", matrix=label):
        kind = kind_of(tree)
        for verb, act in adapter.verbs(kind).items():
            outcome: str | None = ""
            try:
                act(tree)
            except NotOffered:
                outcome = None
            except Exception as error:
                outcome = failed[kind.resource.kind, verb] = f"{type(error).__name__}: {error}"
            matrix.note(adapter.name, kind, verb, outcome)
    assert not failed


def test_subresources(matrix: Matrix, cluster: ServedCluster, kubectl: Kubectl, tmp_path: Path) -> None:
    there = ("-n", "with-parts")
    kubectl.run("create", "namespace", "with-parts")
    trees = {tree["kind"]: tree for tree in objects("with-parts", matrix="parts") if "/" not in tree["apiVersion"]}
    pod = trees["Pod"]
    pod["spec"]["schedulerName"] = "nobody"
    for tree in (pod, next(t for t in objects("with-parts") if t["kind"] == "CertificateSigningRequest")):
        kubectl.run("create", "-f", "-", standard_input=json.dumps(tree))
    core = CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
    # The library takes the answer for the object that was sent, which it is not.
    raw: dict[str, Any] = {"namespace": "with-parts", "name": "matrix"}
    core.create_namespaced_pod_binding(
        _preload_content=False, body={"metadata": {"name": "matrix"}, "target": {"kind": "Node", "name": "n1"}}, **raw
    )
    matrix.note_subresource("pods/binding", "kubernetes (Python)")
    kubectl.run("wait", "pod/matrix", "--for=condition=Ready", "--timeout=120s", *there)
    kubectl.run("debug", "matrix", "--image=registry.test/debug:1", "--attach=false", "--profile=baseline", *there)
    assert kubectl.run("get", "pod", "matrix", *there, "-o", "jsonpath={.spec.ephemeralContainers[0].image}")
    matrix.note_subresource("pods/ephemeralcontainers", "kubectl 1.35 (debug)")
    assert kubectl.run("create", "token", "default", "--audience=matrix", *there).count(".") == 2
    matrix.note_subresource("serviceaccounts/token", "kubectl 1.35 (create token)")
    kubectl.run("certificate", "approve", "matrix")
    matrix.note_subresource(
        "certificatesigningrequests.certificates.k8s.io/approval", "kubectl 1.35 (certificate approve)"
    )
    core.create_namespaced_pod_eviction(_preload_content=False, body={"metadata": {"name": "matrix"}}, **raw)
    kubectl.run("wait", "pod/matrix", "--for=delete", "--timeout=120s", *there)
    matrix.note_subresource("pods/eviction", "kubernetes (Python)")
    live = core.read_namespace("with-parts")
    assert core.replace_namespace_finalize("with-parts", live).spec.finalizers == ["kubernetes"]
    matrix.note_subresource("namespaces/finalize", "kubernetes (Python)")
    kubectl.run("delete", "namespace/with-parts", "csr/matrix", "--timeout=200s")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\ncolour: blue\n",
    "templates/all.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {colour: {{ .Values.colour }}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}, annotations: {colour: {{ .Values.colour }}}}
    spec: {containers: [{name: main, image: "registry.test/shop:1"}]}
""",
    "templates/hook.yaml": """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "registry.test/migrate:1"}]}}}
""",
    "templates/tests/try.yaml": """\
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-try, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: main, image: "registry.test/try:1"}]}
""",
}


def test_helm(matrix: Matrix, cluster: ServedCluster, kubectl: Kubectl, tmp_path: Path) -> None:
    for name, text in CHART.items():
        file = tmp_path / "chart" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}

    def helm(*arguments: str) -> str:
        program = tools().helm
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=240)
        matrix.note_chart(arguments[0], done.stderr.strip() if done.returncode else "")
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def colour() -> str:
        return kubectl.run("get", "configmap", "-n", "with-helm", "shop", "-o", "jsonpath={.data.colour}")

    chart, there = str(tmp_path / "chart"), ("-n", "with-helm")
    wait = ("--wait", "--timeout", "180s")
    helm("install", "shop", chart, *there, "--create-namespace", *wait)
    assert colour() == "blue"
    helm("upgrade", "shop", chart, *there, "--set", "colour=red,replicas=2", *wait)
    assert colour() == "red"
    helm("rollback", "shop", "1", *there, *wait)
    assert colour() == "blue"
    assert "Succeeded" in helm("test", "shop", *there)
    assert "deployed" in helm("list", *there)
    assert "REVISION" in helm("history", "shop", *there)
    helm("get", "all", "shop", *there)
    helm("status", "shop", *there)
    helm("uninstall", "shop", *there, *wait)
    assert "shop" not in kubectl.run("get", "deployments,services,configmaps", *there, "-o", "name")


def test_the_page_says_what_ran(matrix: Matrix) -> None:
    if len(matrix.clients) < 1 + len(HTTP_CLIENTS) or not matrix.charts:
        pytest.skip("not all clients ran")
    if os.environ.get("UPDATE_COMPATIBILITY"):
        PAGE.write_text(matrix.page())
    assert PAGE.read_text() == matrix.page(), "docs/reference/compatibility.md is stale"
