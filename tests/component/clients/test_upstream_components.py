"""Upstream's own kube-scheduler and kube-controller-manager in the place of ours, where their programs are at hand.

`KUBE_SCHEDULER` and `KUBE_CONTROLLER_MANAGER` name them; without these they are looked for in PATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubectl import Kubectl, Refused
from tools import tools

from pilothouse.launch.replaced import manager_arguments, scheduler_arguments
from pilothouse.testing.served_cluster import ServedCluster

pytestmark = pytest.mark.slow
Tree = dict[str, Any]
_PATIENCE_SECONDS = 90.0


def program(name: str) -> str:
    found = os.environ.get(name.upper().replace("-", "_")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not in PATH, and {name.upper().replace('-', '_')} does not name it")
    return found


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield
            assert process.poll() is None, f"it ended: {log.read_text()[-2000:]}"
        finally:
            process.terminate()
            process.wait(30)


class World:
    """A cluster, kubectl, and waiting for what should come."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl

    def apply(self, *trees: Tree) -> None:
        documents = "\n---\n".join(map(json.dumps, trees))
        self.kubectl.run("apply", "-f", "-", standard_input=documents)

    def get(self, *what: str) -> Tree:
        found: Tree = json.loads(self.kubectl.run("get", *what, "-o", "json"))
        return found

    def pods(self, app: str) -> list[Tree]:
        items: list[Tree] = self.get("pods", "-l", f"app={app}")["items"]
        return items

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(KeyError, Refused):
                if holds():
                    return
            if time.monotonic() > end:
                told = self.kubectl.run("get", "all,events", "-A", "-o", "wide")
                raise AssertionError(f"it did not come about that {what}:\n{told}")
            time.sleep(0.2)


def template(app: str, **spec: Any) -> Tree:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "x/y:1"}], **spec}}


def workload(api: str, kind: str, name: str, **spec: Any) -> Tree:
    wanted = {"selector": {"matchLabels": {"app": name}}, "template": template(name), **spec}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": wanted}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both of upstream's at work."""
    scheduler, manager = program("kube-scheduler"), program("kube-controller-manager")
    directory = tmp_path_factory.mktemp("upstream")
    with ServedCluster(directory, without=("scheduler", "controllers"), nodes=2) as cluster:
        commands = {
            "kube-scheduler": [scheduler, *scheduler_arguments(cluster.kubeconfig_of("kube-scheduler"))],
            "kube-controller-manager": [
                manager,
                *manager_arguments(cluster.kubeconfig_of("kube-controller-manager")),
            ],
        }
        with contextlib.ExitStack() as stack:
            for name, command in commands.items():
                stack.enter_context(running([*command, "--secure-port=0"], directory / f"{name}.log"))
            yield World(Kubectl(tools().kubectl, cluster.kubeconfig, directory))


def ready(world: World, kind: str, name: str, count: int) -> Callable[[], bool]:
    field = "numberReady" if kind == "daemonset" else "readyReplicas"
    return lambda: world.get(kind, name)["status"][field] == count


def test_a_deployment_rolls_and_scales(world: World) -> None:
    world.apply(workload("apps/v1", "Deployment", "web", replicas=3))
    world.until(ready(world, "deployment", "web", 3), "three pods are ready")
    world.kubectl.run("set", "image", "deployment/web", "c=x/y:2")
    world.until(
        lambda: {pod["spec"]["containers"][0]["image"] for pod in world.pods("web")} == {"x/y:2"}, "all pods are new"
    )
    world.kubectl.run("scale", "deployment/web", "--replicas=1")
    world.until(lambda: len(world.pods("web")) == 1, "one is left")
    assert "successfully rolled out" in world.kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_service_has_endpoints(world: World) -> None:
    world.apply(workload("apps/v1", "Deployment", "served", replicas=2))
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "served"},
            "spec": {"selector": {"app": "served"}, "ports": [{"port": 80}]},
        }
    )

    def addresses() -> set[str]:
        slices = world.get("endpointslices", "-l", "kubernetes.io/service-name=served")["items"]
        return {address for one in slices for end in one["endpoints"] or () for address in end["addresses"]}

    world.until(
        lambda: len(addresses()) == 2 and addresses() == {pod["status"]["podIP"] for pod in world.pods("served")},
        "both pods are endpoints",
    )
    world.until(lambda: len(world.get("endpoints", "served")["subsets"][0]["addresses"]) == 2, "Endpoints say so too")


def test_sets(world: World) -> None:
    world.apply(
        workload("apps/v1", "StatefulSet", "db", replicas=3, serviceName="db"),
        workload("apps/v1", "DaemonSet", "agent"),
    )
    world.until(ready(world, "statefulset", "db", 3), "the StatefulSet is ready")
    assert {pod["metadata"]["name"] for pod in world.pods("db")} == {"db-0", "db-1", "db-2"}
    world.until(ready(world, "daemonset", "agent", 2), "the DaemonSet is on both nodes")
    assert {pod["spec"]["nodeName"] for pod in world.pods("agent")} == {"n1", "n2"}


def test_jobs(world: World) -> None:
    job = {"completions": 4, "parallelism": 2, "completionMode": "Indexed", "ttlSecondsAfterFinished": 3600}
    world.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "work"},
            "spec": {**job, "template": template("work", restartPolicy="Never")},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "often"},
            "spec": {
                "schedule": "* * * * *",
                "jobTemplate": {"spec": {"template": template("often", restartPolicy="Never")}},
            },
        },
    )
    world.until(lambda: world.get("job", "work")["status"]["succeeded"] == 4, "the Job is done")
    world.until(lambda: not any("finalizers" in p["metadata"] for p in world.pods("work")), "finalizers are gone")
    world.until(lambda: bool(world.get("cronjob", "often")["status"]["lastSuccessfulTime"]), "the CronJob ran")


def test_owned_objects_are_collected(world: World) -> None:
    world.apply(workload("apps/v1", "Deployment", "gone", replicas=2))
    world.until(ready(world, "deployment", "gone", 2), "it runs")
    world.kubectl.run("delete", "deployment", "gone", "--cascade=foreground", "--timeout=60s")
    world.until(lambda: not world.pods("gone"), "its pods are collected")


def test_a_namespace_goes_with_all_that_is_in_it(world: World) -> None:
    world.kubectl.run("create", "namespace", "short")
    world.until(lambda: bool(world.get("serviceaccount", "default", "-n", "short")), "it has its account")
    tree = workload("apps/v1", "Deployment", "in-it", replicas=1)
    tree["metadata"]["namespace"] = "short"
    world.apply(tree)
    world.until(lambda: bool(world.get("pods", "-n", "short")["items"]), "a pod is in it")
    world.kubectl.run("delete", "namespace", "short", "--timeout=80s")


def test_a_budget_and_a_quota_are_kept(world: World) -> None:
    world.apply(
        workload("apps/v1", "Deployment", "kept", replicas=2),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "kept"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "kept"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few"},
            "spec": {"hard": {"configmaps": "9"}},
        },
    )
    world.until(lambda: world.get("pdb", "kept")["status"]["currentHealthy"] == 2, "the budget counts both")
    assert world.get("pdb", "kept")["status"]["disruptionsAllowed"] == 0
    world.until(lambda: "configmaps" in world.get("quota", "few")["status"]["used"], "the quota is counted")


def test_an_autoscaler_says_what_it_lacks(world: World) -> None:
    """No metrics come from nodes without containers: what matters is that it reads, decides and writes its status."""
    world.apply(workload("apps/v1", "Deployment", "scaled", replicas=1))
    world.kubectl.run("autoscale", "deployment", "scaled", "--min=3", "--max=5", "--cpu=50%")
    world.until(ready(world, "deployment", "scaled", 3), "it is brought to its least size")
    conditions = world.get("hpa", "scaled")["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions}["AbleToScale"] == "True"
