"""Columns of pods. Source: `printPod` of Kubernetes' printers."""

from __future__ import annotations

from typing import NamedTuple

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field, since
from pilothouse.machinery.objects import Obj


class Summary(NamedTuple):
    """What the columns say of a pod's containers: how many are ready, the state in a word, the restarts."""

    ready: int
    total: int
    reason: str
    restarts: int
    last_restart: str


def summary(pod: Obj) -> Summary:
    """The state of a pod in the words of `kubectl get pods`."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    reason = status.get("reason") or status.get("phase") or ""
    if (conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init = _init_summary(spec, status, sidecars)
    ready, restarts, last = init.ready, init.restarts, init.last_restart
    if init.reason:
        reason = init.reason
    if not init.reason or _is_true(conditions, "Initialized"):
        main = _main_summary(status, reason, _is_true(conditions, "Ready"))
        reason, ready = main.reason, ready + main.ready
        side = _restarts([s for s in status.get("initContainerStatuses") or () if s.get("name") in sidecars])
        restarts, last = main.restarts + side[0], max(main.last_restart, side[1])
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return Summary(ready, len(spec.get("containers") or ()) + len(sidecars), reason, restarts, last)


def _init_summary(spec: Obj, status: Obj, sidecars: set[str | None]) -> Summary:
    """Reason is empty once no init container holds the pod back."""
    statuses = status.get("initContainerStatuses") or []
    total = len(spec.get("initContainers") or ())
    ready, reason, seen = 0, "", 0
    for index, container in enumerate(statuses):
        seen = index + 1
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if container.get("name") in sidecars and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            reason = "Init:" + _ended(terminated)
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{total}"
        break
    restarts, last = _restarts(statuses[:seen])
    return Summary(ready, total, reason, restarts, last)


def _main_summary(status: Obj, reason: str, pod_ready: bool) -> Summary:
    statuses = status.get("containerStatuses") or []
    ready, running, failed = 0, False, ""
    for container in reversed(statuses):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
            failed = reason if terminated.get("exitCode", 0) else failed
        elif container.get("ready") and "running" in state:
            running = True
            ready += 1
    if reason == "Completed":
        # One container that ended well says little of the others.
        still = "NotReady" if running else reason
        reason = "Running" if running and pod_ready else failed or still
    restarts, last = _restarts(statuses)
    return Summary(ready, len(statuses), reason, restarts, last)


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: list[Obj]) -> tuple[int, str]:
    """The restarts together, and when the last one before the current run ended (RFC 3339, "" if unknown)."""
    count, last = 0, ""
    for container in statuses:
        count += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        last = max(last, ended.get("finishedAt") or "")
    return count, last


def _is_true(conditions: dict[str | None, Obj], kind: str) -> bool:
    return (conditions.get(kind) or {}).get("status") == "True"


def _ready(pod: Obj) -> str:
    found = summary(pod)
    return f"{found.ready}/{found.total}"


def _restart_text(pod: Obj) -> str:
    found = summary(pod)
    if found.restarts and found.last_restart:
        return f"{found.restarts} ({since(found.last_restart)} ago)"
    return str(found.restarts)


def _address(pod: Obj) -> str:
    addresses = (pod.get("status") or {}).get("podIPs") or ()
    return (addresses[0].get("ip") or NONE) if addresses else NONE


def _gates(pod: Obj) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or ()
    if not gates:
        return NONE
    true = {c.get("type") for c in (pod.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


COLUMNS = (
    NAME,
    Column("Ready", _ready, "Containers that are ready, of all that keep running."),
    Column("Status", lambda pod: summary(pod).reason, "The state of the pod and its containers in a word."),
    Column("Restarts", _restart_text, "Restarts of its containers, and when the last one was."),
    AGE,
    Column("IP", _address, "Address of the pod.", priority=1),
    Column("Node", field("spec", "nodeName", default=NONE), "Node it is assigned to.", priority=1),
    Column(
        "Nominated Node",
        field("status", "nominatedNodeName", default=NONE),
        "Node that is being cleared for it.",
        priority=1,
    ),
    Column("Readiness Gates", _gates, "Readiness gates that hold, of all.", priority=1),
)
