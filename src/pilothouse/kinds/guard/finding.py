"""Finding: one thing that is wrong, who owns it and since when. Read only; kept in a database of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from pilothouse.kinds.columns import NAME, Column, field, since
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource

GROUP = "guard.pilothouse.dev"
VERSION = "v1alpha1"
FINDINGS = Resource(GROUP, VERSION, "Finding", "findings", True)
HOME = "kube-system"
"""The namespace of findings about objects outside namespaces."""
OPEN, ACCEPTED, RESOLVED = "open", "accepted", "resolved"


class FindingSubject(View):
    """The object a finding is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""


class FindingSpec(View):
    """`field` is a path from the subject's root; `evidence` is what the finding rests on.

    `risk` orders findings, higher is more pressing: its digits are known to be exploited, likelihood of that, exposure
    and severity."""

    rule: str = ""
    title: str = ""
    severity: str = ""
    risk: int = 0
    category: str = ""
    source: str = ""
    subject: FindingSubject = msgspec.field(default_factory=FindingSubject)
    container: str = ""
    field: str = ""
    message: str = ""
    evidence: dict[str, str] = {}
    why: str = ""
    remedy: str = ""
    standards: str = ""


class FindingStatus(View):
    """`state` is open, accepted or resolved; `new_because` is ObjectChanged, RuleChanged or DataChanged."""

    state: str = ""
    owner: str = ""
    first_seen: str = ""
    last_seen: str = ""
    resolved_at: str = ""
    new_because: str = ""
    exemption: str = ""


class Finding(Object):
    resource: ClassVar[Resource] = FINDINGS

    spec: FindingSpec = msgspec.field(default_factory=FindingSpec)
    status: FindingStatus = msgspec.field(default_factory=FindingStatus)


def _subject(obj: Obj) -> str:
    subject = (obj.get("spec") or {}).get("subject") or {}
    return f"{subject.get('kind', '')}/{subject.get('name', '')}"


def _fields(obj: Obj) -> dict[str, str]:
    spec: dict[str, Any] = obj.get("spec") or {}
    status: dict[str, Any] = obj.get("status") or {}
    subject: dict[str, Any] = spec.get("subject") or {}
    found = {f"spec.{key}": spec.get(key, "") for key in ("rule", "severity", "category", "source", "container")}
    found |= {f"spec.subject.{key}": subject.get(key, "") for key in ("kind", "name", "namespace")}
    return found | {f"status.{key}": status.get(key, "") for key in ("state", "owner", "newBecause")}


KIND = Kind(
    view=Finding,
    verbs=frozenset({"get", "list", "watch"}),
    columns=(
        NAME,
        Column("Severity", field("spec", "severity"), "critical, high, medium or low."),
        Column("Risk", field("spec", "risk", default=0), "How pressing it is; higher is worse.", type="integer"),
        Column("Object", _subject, "What it is about."),
        Column("Container", field("spec", "container"), "The container concerned."),
        Column("Owner", field("status", "owner", default="<none>"), "Who is to mend it."),
        Column("State", field("status", "state"), "open, accepted or resolved."),
        Column("Age", lambda obj: since((obj.get("status") or {}).get("firstSeen")), "Since it was first seen."),
        Column("Rule", field("spec", "rule"), "The rule.", priority=1),
        Column("Field", field("spec", "field"), "The field concerned.", priority=1),
        Column("Message", field("spec", "message"), "What is wrong.", priority=1),
        Column("Pods", field("spec", "evidence", "pods"), "The pods concerned.", priority=1),
        Column(
            "Exposure", field("spec", "evidence", "exposure"), "How they are reached, and what they hold.", priority=1
        ),
        Column("New because", field("status", "newBecause"), "What changed when it appeared.", priority=1),
    ),
    fields=_fields,
)
