"""What a DaemonSet's decision asks for, and the plan's golden text."""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.controllers import revisions
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj


@dataclass(frozen=True, slots=True)
class Delete:
    """`ended` is the phase of a pod that is deleted only to be made anew."""

    pod: Pod
    why: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """First `revision`; then pods on the nodes of `create`, those of `delete`, `status`, and `forget`; `again` seconds
    later without any event."""

    revision: revisions.Create | revisions.Renumber | None = None
    hash: str = ""
    create: list[str] = field(default_factory=list)
    delete: list[Delete] = field(default_factory=list)
    status: Obj = field(default_factory=dict)
    forget: list[ControllerRevision] = field(default_factory=list)
    again: float | None = None

    def text(self) -> str:
        """One line an action, for people and golden files."""
        lines = [revisions.line_of(self.revision)] if self.revision is not None else []
        lines += [f"create pod of {self.hash} on {node}" for node in self.create]
        lines += [f"delete pod {item.pod.name}: {item.why}" for item in self.delete]
        lines += [f"status {key}={value}" for key, value in self.status.items()]
        lines += [f"delete revision {revision.name}" for revision in self.forget]
        if self.again is not None:
            lines.append(f"again in {self.again:g} s")
        return "\n".join(lines) or "nothing"
