"""What becomes of a pod on a virtual node: it starts after a moment, runs, ends if it is meant to. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.objects import Obj, timestamp

RUNS_FOR = "simulation.pilothouse.dev/runs-for-seconds"
"""Annotation of a pod: how long its containers run before they end well. Pods of Jobs run a second without it."""
STARTS_AFTER = "simulation.pilothouse.dev/starts-after-seconds"
_START_SECONDS = 0.2
_JOB_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """The pod's status once its containers run."""

    status: Obj


@dataclass(frozen=True, slots=True)
class Ended:
    """Its status once they have ended."""

    status: Obj


@dataclass(frozen=True, slots=True)
class Gone:
    """It was to be deleted, and its containers are gone."""


def next_of(pod: Pod, seconds: float, address: Callable[[], str]) -> Running | Ended | Gone | float | None:
    """What its node does next; a number is the seconds until there is something to do, None: nothing.

    `seconds` is how long the node has known the pod; `address` gives an address of its own.
    """
    if pod.metadata.deletion_timestamp is not None:
        return Gone()
    start = _number(pod, STARTS_AFTER, _START_SECONDS)
    if pod.status.phase in ("", "Pending"):
        return start - seconds if seconds < start else Running(_running(pod, address()))
    lasts = _number(pod, RUNS_FOR, _JOB_SECONDS if pod.spec.restart_policy != "Always" else -1.0)
    if pod.status.phase == "Running" and lasts >= 0:
        return start + lasts - seconds if seconds < start + lasts else Ended(_ended(pod))
    return None


def _number(pod: Pod, annotation: str, otherwise: float) -> float:
    try:
        return float(pod.metadata.annotations[annotation])
    except (KeyError, ValueError):
        return otherwise


def _running(pod: Pod, address: str) -> Obj:
    now = timestamp()
    return {
        "phase": "Running",
        "startTime": now,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": _conditions(now, "True"),
        "containerStatuses": [_container(c, {"running": {"startedAt": now}}, True) for c in pod.spec.containers],
    }


def _ended(pod: Pod) -> Obj:
    now = timestamp()
    state = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now, "startedAt": now}}
    return {
        "phase": "Succeeded",
        "conditions": _conditions(now, "False"),
        "containerStatuses": [_container(container, state, False) for container in pod.spec.containers],
    }


def _conditions(now: str, ready: str) -> list[Obj]:
    states = {"PodReadyToStartContainers": "True", "Initialized": "True", "ContainersReady": ready, "Ready": ready}
    return [{"type": of, "status": status, "lastTransitionTime": now} for of, status in states.items()]


def _container(container: Container, state: Obj, ready: bool) -> Obj:
    return {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }
