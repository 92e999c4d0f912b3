"""The actions a Deployment's decision is made of, and the plan's golden text."""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.machinery.objects import Obj


@dataclass(frozen=True, slots=True)
class Create:
    """A new ReplicaSet from its tree."""

    name: str
    replicas: int
    tree: Obj


@dataclass(frozen=True, slots=True)
class Scale:
    replica_set: ReplicaSet
    replicas: int
    annotations: dict[str, str] = field(default_factory=dict)
    """Merged into the ReplicaSet's in the same patch."""

    @property
    def before(self) -> int:
        replicas = self.replica_set.spec.replicas
        return 1 if replicas is None else replicas


@dataclass(frozen=True, slots=True)
class Annotate:
    """Patches a ReplicaSet's annotations (and, where it differs, minReadySeconds) without scaling it."""

    replica_set: ReplicaSet
    annotations: dict[str, str]
    min_ready_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Deletes an old ReplicaSet beyond the history limit."""

    replica_set: ReplicaSet


Action = Create | Scale | Annotate | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """`actions` in order, then the Deployment's annotations and status; `again` seconds later without any event."""

    actions: list[Action] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    status: Obj = field(default_factory=dict)
    again: float | None = None

    def text(self) -> str:
        """One line an action, for people and golden files."""
        lines = [_line(action) for action in self.actions]
        lines += [f"annotate deployment {key}={value}" for key, value in sorted(self.annotations.items())]
        for key, value in self.status.items():
            if key == "conditions":
                lines += [
                    f"condition {c['type']}={c['status']} {c.get('reason', '')}: {c.get('message', '')}"
                    for c in value or ()
                ]
            else:
                lines.append(f"status {key}={value}")
        if self.again is not None:
            lines.append(f"again in {self.again:g} s")
        return "\n".join(lines) or "nothing"


def _line(action: Action) -> str:
    match action:
        case Create():
            return f"create {action.name} with {action.replicas}"
        case Scale():
            return f"scale {action.replica_set.name} from {action.before} to {action.replicas}"
        case Annotate():
            return f"annotate {action.replica_set.name} " + " ".join(
                f"{key}={value}" for key, value in sorted(action.annotations.items())
            )
        case Remove():
            return f"delete {action.replica_set.name}"
