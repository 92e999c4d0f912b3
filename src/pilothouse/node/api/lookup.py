"""The pod and container that a request names, and whether they can be streamed from now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pilothouse.machinery.errors import BadRequest, NotFound
from pilothouse.node.counts import Counts
from pilothouse.node.state import ContainerState, PodState


class PodLookup(Protocol):
    """What this API needs of the node's pods; `node.state.PodTable` is one."""

    @property
    def counts(self) -> Counts: ...

    def get(self, namespace: str, name: str) -> PodState | None: ...

    def by_uid(self, uid: str) -> PodState | None: ...

    def __iter__(self) -> Iterator[PodState]: ...


def find_pod(pods: PodLookup, namespace: str, name: str, uid: str = "") -> PodState:
    """The pod of that name; with `uid`, the one that has it at the API. Raises NotFound."""
    state = pods.get(namespace, name)
    if uid and (state is None or state.api_uid != uid):
        state = pods.by_uid(uid)
    if state is None or (state.namespace, state.name) != (namespace, name):
        raise NotFound(f'pod "{name}" in namespace "{namespace}" is not on this node', kind="pods", name=name)
    return state


def running_container(state: PodState, name: str) -> ContainerState:
    """Raises NotFound, or BadRequest when the container is not running."""
    container = state.container(name)
    if container is None:
        _require_known(state, name)
        raise BadRequest(f"unable to upgrade connection: container {name} of pod {state.key} has not been started yet")
    if not container.running:
        raise BadRequest(f"cannot exec in a stopped container: {name} of pod {state.key} is {container.phase.value}")
    return container


def log_of(state: PodState, name: str, *, previous: bool) -> ContainerState:
    """The container whose log is meant: the newest attempt that was started. Raises NotFound, BadRequest."""
    if previous:
        before = state.previous.get(name)
        if before is None:
            _require_known(state, name)
            raise BadRequest(f'previous terminated container "{name}" in pod "{state.name}" not found')
        return before
    container = state.container(name)
    if container is not None and container.log_path and container.phase.value != "created":
        return container
    if (before := state.previous.get(name)) is not None:
        # Between two attempts the last one's log is what there is to read.
        return before
    _require_known(state, name)
    waiting = state.waiting.get(name)
    reason = waiting.reason if waiting is not None else "ContainerCreating"
    raise BadRequest(f'container "{name}" in pod "{state.name}" is waiting to start: {reason}')


def _require_known(state: PodState, name: str) -> None:
    if name in state.containers or name in state.previous or state.pod is None:
        if state.pod is None and name not in state.containers and name not in state.previous:
            raise NotFound(f'container "{name}" not found in pod "{state.name}"')
        return
    spec = state.pod.spec
    if name not in {entry.name for entry in (*spec.containers, *spec.init_containers, *spec.ephemeral_containers)}:
        raise NotFound(f'container "{name}" not found in pod "{state.name}"')
