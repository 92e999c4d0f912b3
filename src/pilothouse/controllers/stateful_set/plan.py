"""The actions a StatefulSet's decision is made of, and the plan's golden text."""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.controllers import revisions
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import OwnerReference
from pilothouse.machinery.objects import Obj


@dataclass(frozen=True, slots=True)
class MakeClaim:
    """A claim from its tree, for the pod of that name."""

    name: str
    pod: str
    tree: Obj


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """Gives a claim the owners with which it is to go."""

    claim: PersistentVolumeClaim
    owners: list[OwnerReference]


@dataclass(frozen=True, slots=True)
class CreatePod:
    name: str
    revision: str
    tree: Obj


@dataclass(frozen=True, slots=True)
class DeletePod:
    """`ended` is the phase of a pod that is deleted only to be made anew."""

    pod: Pod
    why: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class LabelPod:
    """Gives an adopted pod the labels of its identity."""

    pod: Pod
    labels: dict[str, str]


Action = MakeClaim | OwnClaim | CreatePod | DeletePod | LabelPod


@dataclass(frozen=True, slots=True)
class Plan:
    """First `revision`; then `actions` in order, `status`, and `forget`; `again` seconds later without any event."""

    revision: revisions.Create | revisions.Renumber | None = None
    actions: list[Action] = field(default_factory=list)
    status: Obj = field(default_factory=dict)
    forget: list[ControllerRevision] = field(default_factory=list)
    again: float | None = None

    def text(self) -> str:
        """One line an action, for people and golden files."""
        lines = [revisions.line_of(self.revision)] if self.revision is not None else []
        lines += [_line(action) for action in self.actions]
        lines += [f"status {key}={value}" for key, value in self.status.items()]
        lines += [f"delete revision {revision.name}" for revision in self.forget]
        if self.again is not None:
            lines.append(f"again in {self.again:g} s")
        return "\n".join(lines) or "nothing"


def _line(action: Action) -> str:
    match action:
        case MakeClaim():
            return f"create claim {action.name}"
        case OwnClaim():
            owners = ", ".join(f"{ref.kind} {ref.name}" for ref in action.owners) or "nobody"
            return f"claim {action.claim.name} belongs to {owners}"
        case CreatePod():
            return f"create pod {action.name} of {action.revision}"
        case DeletePod():
            return f"delete pod {action.pod.name}: {action.why}"
        case LabelPod():
            return f"label pod {action.pod.name}"
