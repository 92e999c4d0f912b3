"""How far a workload is, and in plain words why it does not get further: decided from its objects, without any I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_status import ContainerStatus
from pilothouse.kinds.view import Condition

State = Literal["waiting", "ready", "failed"]

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*": ')
_DETAIL = re.compile(r": failed to (pull and unpack|resolve|do request).*?(?=; check the network|$)", re.DOTALL)
"""The runtime's chain of errors, whose gist stands before it."""
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps a pod from being ready; `lasting` troubles do not go away by waiting."""

    reason: str
    message: str
    pod: str = ""
    container: str = ""
    lasting: bool = False
    wants_log: bool = False
    """The container's last log lines tell more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A workload's way to ready."""

    state: State
    ready: int
    wanted: int
    text: str
    troubles: tuple[Trouble, ...] = ()


def of_deployment(deployment: Deployment, replica_sets: Iterable[ReplicaSet], pods: Iterable[Pod]) -> Progress:
    """How far a Deployment's newest revision is, by upstream's rule for a complete rollout."""
    spec, status = deployment.spec, deployment.status
    wanted = 1 if spec.replicas is None else spec.replicas
    if status.observed_generation < deployment.metadata.generation:
        return Progress("waiting", status.available_replicas, wanted, "waiting for the controller")
    own = [rs for rs in replica_sets if _owned(rs.controller(), deployment.metadata.uid)]
    newest = max(own, key=_revision, default=None)
    troubles = _refusals(status.conditions)
    if newest is not None:
        for pod in pods:
            if _owned(pod.controller(), newest.metadata.uid):
                troubles += of_pod(pod)
    done = (
        status.updated_replicas >= wanted
        and status.replicas <= max(wanted, status.updated_replicas)
        and status.available_replicas >= wanted
    )
    if done:
        return Progress("ready", status.available_replicas, wanted, "ready")
    if any(c.type == "Progressing" and c.reason == "ProgressDeadlineExceeded" for c in status.conditions):
        return Progress("failed", status.available_replicas, wanted, "no progress within its deadline", tuple(troubles))
    if any(trouble.lasting for trouble in troubles):
        return Progress("failed", status.available_replicas, wanted, _summary(troubles), tuple(troubles))
    text = _summary(troubles) or _counts(deployment, wanted)
    return Progress("waiting", status.available_replicas, wanted, text, tuple(troubles))


def proves_itself(deployment: Deployment) -> bool:
    """True when every container has a readiness probe; without one, Ready means no more than started."""
    containers = (deployment.spec.template.get("spec") or {}).get("containers") or ()
    return all(container.get("readinessProbe") for container in containers)


def of_pod(pod: Pod) -> list[Trouble]:
    """What keeps a pod from being ready, worst first; empty while it is merely starting."""
    name = pod.metadata.name
    status = pod.status
    if pod.metadata.deletion_timestamp:
        return []
    troubles = []
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.message:
            troubles.append(Trouble(condition.reason or "Unschedulable", condition.message, name))
    if status.phase == "Failed":
        troubles.append(Trouble(status.reason or "Failed", status.message or "the pod has failed", name, lasting=True))
    for container in [*status.init_container_statuses, *status.container_statuses]:
        trouble = _of_container(name, container)
        if trouble is not None:
            troubles.append(trouble)
    return troubles


def _of_container(pod: str, status: ContainerStatus) -> Trouble | None:
    state = status.state
    waiting = state.waiting if state is not None else None
    if waiting is None:
        return None
    if waiting.reason in _IMAGE_REASONS:
        # The two alternate while it is tried again: one name for both, so that nothing flickers.
        lasting = waiting.reason in ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
        reason = "ImagePullBackOff" if waiting.reason == "ErrImagePull" else waiting.reason
        return Trouble(reason, _BACK_OFF.sub("", waiting.message), pod, status.name, lasting=lasting)
    if waiting.reason in _CONFIG_REASONS:
        return Trouble(waiting.reason, waiting.message, pod, status.name)
    if waiting.reason == "CrashLoopBackOff":
        ended = status.last_state.terminated if status.last_state is not None else None
        how = f"it ended with exit code {ended.exit_code} ({ended.reason})" if ended is not None else waiting.message
        if ended is not None and ended.message:
            how += f": {ended.message.strip()}"
        lasting = status.restart_count >= 2
        return Trouble(waiting.reason, how, pod, status.name, lasting=lasting, wants_log=True)
    return None


def _refusals(conditions: Iterable[Condition]) -> list[Trouble]:
    return [
        Trouble(condition.reason or "FailedCreate", condition.message, lasting=True)
        for condition in conditions
        if condition.type == "ReplicaFailure" and condition.status == "True"
    ]


def _summary(troubles: list[Trouble]) -> str:
    if not troubles:
        return ""
    first = next((trouble for trouble in troubles if trouble.lasting), troubles[0])
    return f"{first.reason}: {_DETAIL.sub('', first.message)}"


def _counts(deployment: Deployment, wanted: int) -> str:
    status = deployment.status
    if status.updated_replicas < wanted:
        return f"{status.updated_replicas} of {wanted} new pods made"
    if status.replicas > status.updated_replicas:
        return f"{status.replicas - status.updated_replicas} old pods are ending"
    return f"{status.available_replicas} of {wanted} pods ready"


def _owned(owner: object, uid: str) -> bool:
    return getattr(owner, "uid", None) == uid


def _revision(replica_set: ReplicaSet) -> tuple[int, str]:
    text = replica_set.metadata.annotations.get(REVISION, "0")
    return (int(text) if text.isdigit() else 0, replica_set.metadata.creation_timestamp or "")
