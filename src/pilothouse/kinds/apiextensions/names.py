"""Which names of a definition are accepted: those no other kind of its group has. Pure.

Source: the naming controller of apiextensions, whose reasons and messages these are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pilothouse.kinds.apiextensions.definition import CustomResourceDefinitionNames
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section, shown
from pilothouse.machinery.objects import Obj, timestamp

NAMES_ACCEPTED: Final = "NamesAccepted"
ESTABLISHED: Final = "Established"


@dataclass(slots=True)
class Taken:
    """Names in use in one group: of resources (plural, singular, short), and of kinds."""

    resources: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)


def taken_names(group: str, others: Iterable[CustomResourceDefinitionNames], builtin: Iterable[Kind]) -> Taken:
    """What the group's other definitions have been given (`others`), and what is served by nature."""
    taken = Taken()
    for names in others:
        taken.resources |= {names.plural, names.singular, *names.short_names}
        taken.kinds |= {names.kind, names.list_kind}
    for kind in builtin:
        if kind.resource.group == group:
            taken.resources |= {kind.resource.plural, kind.singular, *kind.short_names}
            taken.kinds |= {kind.resource.kind, kind.list_kind}
    return taken


def decide_names(definition: Obj, taken: Taken) -> Obj:
    """The status with names accepted and the conditions NamesAccepted and Established as they now stand."""
    asked, status = section(section(definition, "spec"), "names"), section(definition, "status")
    before = section(status, "acceptedNames")
    accepted: dict[str, Any] = {"plural": "", "kind": "", **before}
    conflict = ("", "")
    for name, pool, reason in (
        ("plural", taken.resources, "PluralConflict"),
        ("singular", taken.resources, "SingularConflict"),
        ("shortNames", taken.resources, "ShortNamesConflict"),
        ("kind", taken.kinds, "KindConflict"),
        ("listKind", taken.kinds, "ListKindConflict"),
    ):
        wanted = asked.get(name)
        clashes = _clashes(wanted, before.get(name), pool)
        if not clashes:
            _put(accepted, name, wanted)
        elif not conflict[0]:
            conflict = reason, clashes
    _put(accepted, "categories", asked.get("categories"))
    conditions = list(status.get("conditions") or ())
    if conflict[0]:
        _set(conditions, NAMES_ACCEPTED, "False", *conflict)
    else:
        _set(conditions, NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found")
    if not _holds(conditions, ESTABLISHED):
        if conflict[0]:
            _set(conditions, ESTABLISHED, "False", "NotAccepted", "not all names are accepted")
        else:
            message = "the initial names have been accepted"
            _set(conditions, ESTABLISHED, "True", "InitialNamesAccepted", message)
    return {**status, "acceptedNames": accepted, "conditions": conditions}


def _clashes(wanted: Any, before: Any, pool: set[str]) -> str:
    if isinstance(wanted, list):
        fresh = [name for name in wanted if name not in (before or ())]
        found = [f"{shown(name)} is already in use" for name in fresh if name in pool]
        return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""
    return f"{shown(wanted)} is already in use" if wanted and wanted != before and wanted in pool else ""


def _put(accepted: Obj, name: str, wanted: Any) -> None:
    if wanted:
        accepted[name] = wanted
    else:
        accepted.pop(name, None)


def _holds(conditions: list[Obj], kind: str) -> bool:
    return any(condition.get("type") == kind and condition.get("status") == "True" for condition in conditions)


def _set(conditions: list[Obj], kind: str, status: str, reason: str, message: str) -> None:
    wanted = {"type": kind, "status": status, "reason": reason, "message": message}
    for index, current in enumerate(conditions):
        if current.get("type") == kind:
            same = current.get("status") == status
            since = current.get("lastTransitionTime") if same else None
            conditions[index] = {**wanted, "lastTransitionTime": since or timestamp()}
            return
    conditions.append({**wanted, "lastTransitionTime": timestamp()})
