"""What `status` shows, gathered from this machine's run files and from the API."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from pilothouse.cli.progress import Progress, of_pod
from pilothouse.cli.troubles import troubles
from pilothouse.cli.workloads import WORKLOADS, progress_of
from pilothouse.client.client import Client
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.families import join_host_port
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.launch import runfile
from pilothouse.launch.supervisor import last_line

PROCESSES = ("supervisor", "control", "node", "dns", "containerd")


class Process(msgspec.Struct, rename="camel"):
    """A process of the engine; `pid` is None when it does not run."""

    name: str
    pid: int | None
    memory_bytes: int = 0
    """Proportional set size."""


class Overview(msgspec.Struct, rename="camel"):
    """Everything `status` shows, as it is written by `-o json`."""

    engine: dict[str, Any]
    nodes: list[dict[str, Any]] = []
    workloads: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    problems: list[str] = []


def processes(data_dir: Path) -> list[Process]:
    """The engine's processes on this machine."""
    found = []
    for name in PROCESSES:
        running = runfile.read(data_dir / "run", name)
        pid = running.pid if running is not None else None
        found.append(Process(name, pid, _memory(pid) if pid is not None else 0))
    return found


def engine_of(found: Iterable[Process], answers: bool) -> dict[str, Any]:
    """The engine as a whole; `pid` is its first process', the supervisor."""
    tree = {process.name: process for process in found}
    return {
        "running": answers,
        "pid": tree["supervisor"].pid,
        "memoryBytes": sum(process.memory_bytes for process in tree.values()),
        "processes": [msgspec.to_builtins(process) for process in tree.values()],
    }


def local_problems(data_dir: Path, found: Iterable[Process], is_server: bool) -> list[str]:
    """What is wrong on this machine that the API would not know."""
    problems = []
    for process in found:
        if process.pid is None and (process.name != "control" or is_server):
            log = data_dir / "logs" / f"{process.name}.log"
            problems.append(f"{process.name} does not run; its log {log} ends: {last_line(log)}")
    return problems


async def gather(client: Client, overview: Overview) -> None:
    """Adds nodes, workloads, services and their problems from the API. Raises ApiError."""
    nodes = (await client.list(Node)).items
    replica_sets = (await client.list(ReplicaSet)).items
    pods = (await client.list(Pod)).items
    services = (await client.list(Service)).items
    claims = (await client.list(PersistentVolumeClaim)).items
    for node in nodes:
        overview.nodes.append(_node(node, overview.problems, pods))
    for cls in WORKLOADS:
        for live in (await client.list(cls)).items:
            progress = progress_of(
                live,
                [rs for rs in replica_sets if rs.namespace == live.namespace],
                [pod for pod in pods if pod.namespace == live.namespace],
            )
            kind = cls.resource.kind
            overview.workloads.append(_workload(kind, live.namespace, live.name, progress))
            # A Job that runs is as it should be.
            if progress.state == "failed" or (progress.state == "waiting" and cls is not Job):
                overview.problems.append(f"{kind.lower()}/{live.name} in {live.namespace}: {progress.text}")
    for pod in pods:
        if pod.controller() is None:
            overview.workloads.append(_bare_pod(pod, overview.problems))
    overview.services = [_service(service, overview.problems) for service in services]
    overview.services += [_ingress(found, overview.problems) for found in (await client.list(Ingress)).items]
    for claim in claims:
        if claim.status.phase not in ("Bound", ""):
            where = f"persistentvolumeclaim/{claim.name} in {claim.namespace}"
            overview.problems.append(f"{where} is {claim.status.phase}: no pod uses it yet, or no volume fits it")
    overview.problems += await troubles(client)


def _node(node: Node, problems: list[str], pods: Iterable[Pod]) -> dict[str, Any]:
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    address = next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")
    state = "Ready" if ready is not None and ready.status == "True" else "NotReady"
    if state == "NotReady":
        why = f"{ready.reason}: {ready.message}" if ready is not None else "it has not reported yet"
        problems.append(f"node/{node.name} is not ready: {why}")
    for condition in node.status.conditions:
        if condition.type != "Ready" and condition.status == "True":
            problems.append(f"node/{node.name} has {condition.type}: {condition.message}")
    running = sum(1 for pod in pods if pod.spec.node_name == node.name and pod.status.phase == "Running")
    return {
        "name": node.name,
        "state": state + (",SchedulingDisabled" if node.spec.unschedulable else ""),
        "address": address,
        "pods": running,
        "version": node.status.node_info.kubelet_version if node.status.node_info else "",
        "runtime": node.status.node_info.container_runtime_version if node.status.node_info else "",
    }


def _workload(kind: str, namespace: str, name: str, progress: Progress) -> dict[str, Any]:
    return {
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "ready": progress.ready,
        "wanted": progress.wanted,
        "state": progress.state,
        "message": progress.text,
    }


def _bare_pod(pod: Pod, problems: list[str]) -> dict[str, Any]:
    troubles = of_pod(pod)
    ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
    done = pod.status.phase == "Succeeded"
    text = f"{troubles[0].reason}: {troubles[0].message}" if troubles else pod.status.phase
    if troubles:
        problems.append(f"pod/{pod.name} in {pod.namespace}: {text}")
    progress = Progress("ready" if ready or done else "waiting", int(ready or done), 1, text)
    return _workload("Pod", pod.namespace, pod.name, progress)


def _service(service: Service, problems: list[str]) -> dict[str, Any]:
    outside = [entry.ip or entry.hostname for entry in service.status.load_balancer.ingress]
    if service.spec.type == "LoadBalancer" and not outside:
        problems.append(f"service/{service.name} in {service.namespace} has no address outside: its events say why")
    address = service.spec.cluster_ip or service.spec.external_name
    ports = []
    for port in service.spec.ports:
        text = f"{join_host_port(address, port.port)}/{port.protocol}"
        if port.node_port:
            text += f" (node port {port.node_port})"
        ports.append(text)
        ports += [f"{join_host_port(where, port.port)}/{port.protocol}" for where in outside]
    return {
        "namespace": service.namespace,
        "name": service.name,
        "type": service.spec.type,
        "address": address,
        "ports": ports,
    }


def _ingress(ingress: Ingress, problems: list[str]) -> dict[str, Any]:
    outside = [entry.ip for entry in ingress.status.load_balancer.ingress if entry.ip]
    secured = {host for tls in ingress.spec.tls for host in tls.hosts}
    if not outside:
        problems.append(f"ingress/{ingress.name} in {ingress.namespace} is served by nobody yet: its events say why")
    urls = [f"http{'s' * (rule.host in secured)}://{rule.host or '*'}/" for rule in ingress.spec.rules]
    return {
        "namespace": ingress.namespace,
        "name": ingress.name,
        "type": "Ingress",
        "address": ", ".join(outside),
        "ports": [f"{url} at {', '.join(outside) or '(nowhere)'}" for url in urls or ["http://*/"]],
    }


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
