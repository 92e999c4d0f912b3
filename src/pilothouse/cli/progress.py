"""How far a workload is, and in plain words why it does not get further: decided from its objects, without any I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_status import ContainerStatus
from pilothouse.kinds.view import Condition

State = Literal["waiting", "ready", "failed"]

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_NOT_YET = {"ContainerCreating", "PodInitializing"}
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*": ')
_DETAIL = re.compile(r": failed to (pull and unpack|resolve|do request).*?(?=; check the network|$)", re.DOTALL)
"""The runtime's chain of errors, whose gist stands before it."""
REVISION = "deployment.kubernetes.io/revision"
_HASH = "controller-revision-hash"
_FAILED_CREATE = "FailedCreate"
_CREATION = (_FAILED_CREATE, "SuccessfulCreate")


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
    final: bool = False
    """A failure that nothing will be tried against any more."""


def of_deployment(deployment: Deployment, replica_sets: Iterable[ReplicaSet], pods: Iterable[Pod]) -> Progress:
    """How far a Deployment's newest revision is, by upstream's rule for a complete rollout."""
    spec, status = deployment.spec, deployment.status
    wanted = 1 if spec.replicas is None else spec.replicas
    if status.observed_generation < deployment.metadata.generation:
        return _unseen(status.available_replicas, wanted)
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
    late = any(c.type == "Progressing" and c.reason == "ProgressDeadlineExceeded" for c in status.conditions)
    counts = Counts(wanted, status.replicas, status.updated_replicas, status.available_replicas)
    return _judged(counts, done, troubles, "no progress within its deadline" if late else "")


def of_stateful_set(stateful_set: StatefulSet, pods: Iterable[Pod]) -> Progress:
    """How far a StatefulSet is, by upstream's rule for a complete rollout: up to the partition, where there is one."""
    spec, status = stateful_set.spec, stateful_set.status
    wanted = 1 if spec.replicas is None else spec.replicas
    if status.observed_generation < stateful_set.metadata.generation:
        return _unseen(status.available_replicas, wanted)
    rolling = spec.update_strategy.rolling_update
    partition = (rolling.partition or 0) if rolling is not None else 0
    updating = spec.update_strategy.type == "RollingUpdate"
    due = max(0, wanted - partition) if updating else 0
    done = status.available_replicas >= wanted >= status.replicas and status.updated_replicas >= due
    if updating and not partition:
        done = done and status.update_revision == status.current_revision
    troubles = _refusals(status.conditions)
    for pod in pods:
        if _owned(pod.controller(), stateful_set.metadata.uid):
            old = updating and pod.metadata.labels.get(_HASH) != status.update_revision
            troubles += [_in_the_way(trouble) if old else trouble for trouble in of_pod(pod)]
    counts = Counts(wanted, status.replicas, status.updated_replicas, status.available_replicas, due)
    return _judged(counts, done, troubles)


def of_daemon_set(daemon_set: DaemonSet, pods: Iterable[Pod]) -> Progress:
    """How far a DaemonSet is, by upstream's rule for a complete rollout."""
    status = daemon_set.status
    wanted, available, updated = (
        status.desired_number_scheduled,
        status.number_available,
        status.updated_number_scheduled,
    )
    if status.observed_generation < daemon_set.metadata.generation:
        return _unseen(available, wanted)
    own = [pod for pod in pods if _owned(pod.controller(), daemon_set.metadata.uid)]
    youngest = max(own, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.name), default=None)
    troubles = _refusals(status.conditions)
    for pod in own:
        # The youngest pod is of the newest revision: trouble of older ones ends with their replacement.
        if youngest is not None and pod.metadata.labels.get(_HASH) == youngest.metadata.labels.get(_HASH):
            troubles += of_pod(pod)
    due = wanted if daemon_set.spec.update_strategy.type == "RollingUpdate" else 0
    if not wanted and not troubles:
        return Progress("ready", 0, 0, "ready: no node is eligible for it")
    counts = Counts(wanted, status.current_number_scheduled, updated, available, due)
    return _judged(counts, updated >= due and available >= wanted, troubles)


@dataclass(frozen=True, slots=True)
class Counts:
    """Pods of a workload. `due` are those that the current update is to reach, None for all that are wanted."""

    wanted: int
    there: int
    updated: int
    available: int
    due: int | None = None

    def text(self) -> str:
        due = self.wanted if self.due is None else self.due
        if self.updated < due:
            return f"{self.updated} of {due} new pods made"
        if self.there > max(self.wanted, self.updated) or (self.due is None and self.there > self.updated):
            return f"{self.there - min(self.updated, self.wanted)} old pods are ending"
        return f"{self.available} of {self.wanted} pods ready"


def _judged(counts: Counts, done: bool, troubles: list[Trouble], stuck: str = "") -> Progress:
    """The verdict all workloads share; `stuck` is why the controller itself has given up."""
    ready, wanted = counts.available, counts.wanted
    if done:
        return Progress("ready", ready, wanted, "ready")
    if stuck:
        return Progress("failed", ready, wanted, stuck, tuple(troubles))
    if any(trouble.lasting for trouble in troubles):
        return Progress("failed", ready, wanted, _summary(troubles), tuple(troubles))
    return Progress("waiting", ready, wanted, _summary(troubles) or counts.text(), tuple(troubles))


def _unseen(ready: int, wanted: int) -> Progress:
    return Progress("waiting", ready, wanted, "waiting for the controller")


def _in_the_way(trouble: Trouble) -> Trouble:
    """An ordered update does not pass over a broken pod of an older revision; upstream's neither."""
    hint = f"{trouble.message}; it is of an older revision and holds up the update: `kubectl delete pod {trouble.pod}`"
    return replace(trouble, message=hint)


def with_refusal(progress: Progress, uid: str, events: Iterable[Event]) -> Progress:
    """The progress of a workload that waits for pods which the API refuses (a quota, an admission policy): of the kinds
    whose status has no condition for it, only events tell. The newest counts, by its version."""
    made = [event for event in events if event.involved_object.uid == uid and event.reason in _CREATION]
    newest = max(made, key=lambda event: int(event.metadata.resource_version or 0), default=None)
    if progress.state != "waiting" or newest is None or newest.reason != _FAILED_CREATE:
        return progress
    trouble = Trouble(_FAILED_CREATE, newest.message, lasting=True)
    troubles = (trouble, *progress.troubles)
    return replace(progress, state="failed", text=_summary(list(troubles)), troubles=troubles)


def proves_itself(workload: Deployment | StatefulSet | DaemonSet) -> bool:
    """True when every container has a readiness probe; without one, Ready means no more than started."""
    containers = (workload.spec.template.get("spec") or {}).get("containers") or ()
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
    if waiting.reason in _CONFIG_REASONS or (waiting.reason in _NOT_YET and waiting.message):
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


def _owned(owner: object, uid: str) -> bool:
    return getattr(owner, "uid", None) == uid


def _revision(replica_set: ReplicaSet) -> tuple[int, str]:
    text = replica_set.metadata.annotations.get(REVISION, "0")
    return (int(text) if text.isdigit() else 0, replica_set.metadata.creation_timestamp or "")
