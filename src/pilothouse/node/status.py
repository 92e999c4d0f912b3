"""A pod's status as the API shows it, from what the node knows.

Pure; the rules are upstream's (`kubelet_pods.go`, `status/generate.go`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.node.plan import failed_for_good, is_sidecar, restarts
from pilothouse.node.resources import qos_class
from pilothouse.node.state import ContainerState, PodState, Waiting


def pod_status(
    state: PodState, waiting: Mapping[str, Waiting], host_ips: Sequence[str], now: float, sent: Iterable[Obj] = ()
) -> Obj:
    """The status tree. `host_ips` are the node's addresses, its first one first. `waiting` is the plan's answer to why
    containers do not run; `sent` the conditions last sent."""
    pod = state.pod
    assert pod is not None
    init = [_container_status(state, pod, c, waiting) for c in pod.spec.init_containers]
    main = [_container_status(state, pod, c, waiting) for c in pod.spec.containers]
    phase = _phase(state, pod, init, main)
    status: Obj = {"phase": phase, "qosClass": qos_class(pod)}
    status["hostIP"], status["hostIPs"] = host_ips[0], [{"ip": ip} for ip in host_ips]
    if state.started_at:
        status["startTime"] = rfc3339(state.started_at)
    if pod.metadata.generation:
        status["observedGeneration"] = pod.metadata.generation
    ips = _pod_ips(state, pod, host_ips)
    if ips:
        status["podIP"], status["podIPs"] = ips[0], [{"ip": ip} for ip in ips]
    if state.refusal is not None:
        status["reason"], status["message"] = state.refusal.reason, state.refusal.message
    # Of a pod that was refused before anything ran there is no container to tell of: clients show the reason then, and
    # not that its containers are being made.
    begun = state.refusal is None or bool(state.containers)
    if init and begun:
        status["initContainerStatuses"] = init
    if begun:
        status["containerStatuses"] = main
    if pod.spec.ephemeral_containers and begun:
        status["ephemeralContainerStatuses"] = [
            _container_status(state, pod, c, waiting) for c in pod.spec.ephemeral_containers
        ]
    status["conditions"] = _conditions(state, pod, phase, init, main, now, sent)
    return status


def rfc3339(moment: float) -> str:
    return timestamp(dt.datetime.fromtimestamp(moment, dt.UTC))


def _pod_ips(state: PodState, pod: Pod, host_ips: Sequence[str]) -> Sequence[str]:
    sandbox = state.sandbox
    if sandbox is None or not (sandbox.ready or state.torn_down):
        return ()
    return host_ips if pod.spec.host_network else [ip for ip in (sandbox.ip, *sandbox.more_ips) if ip]


def _container_status(state: PodState, pod: Pod, container: Container, waiting: Mapping[str, Waiting]) -> Obj:
    run = state.containers.get(container.name)
    held = waiting.get(container.name)
    init = container in pod.spec.init_containers
    status: Obj = {
        "name": container.name,
        "image": container.image,
        "imageID": run.image_id if run is not None else "",
        "restartCount": run.attempt if run is not None else 0,
        "ready": False,
        "started": False,
        "lastState": {},
    }
    if run is not None:
        status["containerID"] = f"containerd://{run.id}"
    last = state.previous.get(container.name)
    if run is None or (held is not None and run.exited):
        reason = held if held is not None else _not_yet(state, pod, container.name)
        status["state"] = {"waiting": _waiting(reason)}
        last = run if run is not None else last
    elif run.exited:
        status["state"] = {"terminated": terminated(run)}
        status["ready"] = init and not is_sidecar(container) and run.exit_code == 0
    elif run.running:
        status["state"] = {"running": {"startedAt": rfc3339(run.started_at)}}
        status["started"] = run.started
        status["ready"] = run.ready and (not init or is_sidecar(container))
    else:
        status["state"] = {"waiting": _waiting(held or _not_yet(state, pod, container.name))}
    if run is not None and run.running and run.resources is not None:
        status["resources"] = run.resources
        if run.resources.get("requests"):
            status["allocatedResources"] = run.resources["requests"]
    if last is not None:
        status["lastState"] = {"terminated": terminated(last)}
    return status


def _not_yet(state: PodState, pod: Pod, name: str) -> Waiting:
    """Upstream leaves the message empty and tells by events only; here it says what the pod waits for, if anything."""
    reason = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    volumes = f"MountVolume.SetUp failed: {state.volumes_message}" if state.volumes_message else ""
    return Waiting(reason, state.sandbox_message or volumes or state.pull_progress.get(name, ""))


def _waiting(held: Waiting) -> Obj:
    return {"reason": held.reason, **({"message": held.message} if held.message else {})}


def terminated(run: ContainerState) -> Obj:
    """A container's end as its `terminated` state shows it."""
    result: Obj = {
        "exitCode": run.exit_code,
        "reason": run.reason or ("Completed" if run.exit_code == 0 else "Error"),
        "containerID": f"containerd://{run.id}",
        "finishedAt": rfc3339(run.finished_at),
        "startedAt": rfc3339(run.started_at) if run.started_at else None,
    }
    if run.message:
        result["message"] = run.message
    return result


def _phase(state: PodState, pod: Pod, init: list[Obj], main: list[Obj]) -> str:
    if state.refusal is not None and not state.any_running:
        # Not before all has ended: until then the pod holds what it holds.
        return "Failed"
    ending = state.deleted or pod.metadata.deletion_timestamp is not None
    begun = any(state.containers.get(container.name) is not None for container in pod.spec.containers)
    pending_init = False
    for container, status in zip(pod.spec.init_containers, init):
        current = status["state"]
        if is_sidecar(container):
            pending_init = pending_init or not (status["started"] or begun)
            continue
        over = current.get("terminated")
        if over is not None and over["exitCode"] == 0:
            continue
        run = state.containers.get(container.name)
        if run is not None and over is not None and failed_for_good(pod, container, run):
            return "Failed"
        pending_init = True
    running = sum("running" in c["state"] for c in main)
    ended = [
        c["state"].get("terminated") or c["lastState"].get("terminated") for c in main if "running" not in c["state"]
    ]
    never_ran = sum(end is None for end in ended)
    good = all(end is not None and end["exitCode"] == 0 for end in ended)
    if running:
        return "Running" if not never_ran and not (pending_init and not running) else "Pending"
    if not ending and (pending_init or never_ran):
        # A container that ran before and is initialised again after its sandbox was lost is still pending.
        return "Pending"
    if ending:
        if state.any_running or never_ran == len(main):
            return "Pending" if never_ran == len(main) else "Running"
        return "Succeeded" if good and not never_ran else "Failed"
    if any("waiting" in c["state"] for c in main) or _sidecar_running(pod, init):
        return "Running"
    runs = [(container, state.containers.get(container.name)) for container in pod.spec.containers]
    if any(run is not None and run.exited and restarts(pod, container, run) for container, run in runs):
        return "Running"
    return "Succeeded" if good else "Failed"


def _sidecar_running(pod: Pod, init: list[Obj]) -> bool:
    return any(is_sidecar(c) and "running" in s["state"] for c, s in zip(pod.spec.init_containers, init))


def _conditions(
    state: PodState, pod: Pod, phase: str, init: list[Obj], main: list[Obj], now: float, sent: Iterable[Obj]
) -> list[Obj]:
    before = {c.type: (c.status, c.last_transition_time or "") for c in pod.status.conditions}
    before |= {c["type"]: (c["status"], c["lastTransitionTime"]) for c in sent}
    sandbox = state.sandbox is not None and state.sandbox.ready and not state.torn_down
    unready = [c["name"] for c in main if not c["ready"]]
    unready += [s["name"] for c, s in zip(pod.spec.init_containers, init) if is_sidecar(c) and not s["ready"]]
    incomplete = [
        s["name"] for c, s in zip(pod.spec.init_containers, init) if not (s["started"] if is_sidecar(c) else s["ready"])
    ]
    if any(state.containers.get(c.name) is not None for c in pod.spec.containers):
        incomplete = [
            name for name in incomplete if name not in {c.name for c in pod.spec.init_containers if is_sidecar(c)}
        ]
    conditions = [_condition("PodReadyToStartContainers", sandbox)]
    if phase == "Succeeded":
        conditions.append(_condition("Initialized", True, "PodCompleted"))
        ready = _condition("ContainersReady", False, "PodCompleted")
    else:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        conditions.append(_condition("Initialized", not incomplete, "ContainersNotInitialized", message))
        if phase == "Failed":
            ready = _condition("ContainersReady", False, "PodFailed")
        else:
            message = f"containers with unready status: [{' '.join(unready)}]"
            ready = _condition("ContainersReady", not unready, "ContainersNotReady", message)
    conditions += [ready, _ready(pod, ready)]
    if "PodScheduled" not in {condition.type for condition in pod.status.conditions}:
        conditions.append(_condition("PodScheduled", True))
    if state.refusal is not None and state.refusal.disrupted:
        why = {"reason": "TerminationByKubelet", "message": state.refusal.message}
        conditions.append({**_condition("DisruptionTarget", True), **why})
    if state.resize is not None:
        resize = state.resize
        conditions.append({**_condition(resize.condition, True), "reason": resize.reason, "message": resize.message})
    generation = pod.metadata.generation
    for condition in conditions:
        condition["lastTransitionTime"] = _since(before.get(condition["type"]), condition, now)
        condition["lastProbeTime"] = None
        if generation:
            condition["observedGeneration"] = generation
    return conditions


def _ready(pod: Pod, containers_ready: Obj) -> Obj:
    if containers_ready["status"] == "False":
        return {**containers_ready, "type": "Ready"}
    given = {condition.type: condition.status for condition in pod.status.conditions}
    for gate in pod.spec.readiness_gates:
        kind = gate.condition_type
        if given.get(kind) != "True":
            why = f'the status of pod readiness gate "{kind}" is not "True", but {given.get(kind)}'
            if kind not in given:
                why = f'corresponding condition of pod readiness gate "{kind}" does not exist.'
            return _condition("Ready", False, "ReadinessGatesNotReady", why)
    return _condition("Ready", True)


def _condition(kind: str, good: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition = {"type": kind, "status": "True" if good else "False"}
    if reason and (not good or reason == "PodCompleted"):
        condition["reason"] = reason
        if message and not good:
            condition["message"] = message
    return condition


def _since(before: tuple[str, str] | None, after: Obj, now: float) -> str:
    return before[1] if before is not None and before[0] == after["status"] and before[1] else rfc3339(now)


def difference(sent: Obj, status: Obj) -> Obj:
    """The strategic merge patch of a status that turns `sent` into `status`; empty when nothing changed.

    Conditions are merged by type, so those that others set stay; addresses are replaced, because merging would keep
    the address of a sandbox that is gone.
    """
    patch: Obj = {}
    for name in (*status, *(name for name in sent if name not in status)):
        old, new = sent.get(name), status.get(name)
        if old == new:
            continue
        if name == "conditions":
            known = {condition["type"]: condition for condition in old or ()}
            changed = [condition for condition in new or () if known.get(condition["type"]) != condition]
            gone = known.keys() - {condition["type"] for condition in new or ()}
            changed += [{"$patch": "delete", "type": kind} for kind in sorted(gone)]
            if changed:
                patch[name] = changed
        elif name in ("podIPs", "hostIPs"):
            patch[name] = [{"$patch": "replace"}, *(new or ())]
        else:
            patch[name] = new
    return patch
