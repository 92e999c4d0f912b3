"""What to write so that an object holds what it must, leaving everything else as its users made it. Pure.

Source of the rule for roles: Kubernetes documentation, "Auto-reconciliation": missing permissions and subjects are
added again at start unless the object is annotated with autoupdate "false"; additions of users stay.
"""

from __future__ import annotations

from typing import Any

from pilothouse.apiserver.authorization.rules import of_tree, uncovered
from pilothouse.apiserver.bootstrap.roles import AUTOUPDATE
from pilothouse.machinery.objects import Obj


def role_patch(current: Obj, wanted: Obj) -> Obj:
    """The merge patch of a Role or ClusterRole; empty when nothing is missing."""
    if not _may_update(current):
        return {}
    patch: Obj = {}
    rules = current.get("rules") or []
    if rules != wanted["rules"]:
        missing = uncovered([of_tree(rule) for rule in rules], [of_tree(rule) for rule in wanted["rules"]])
        if missing:
            patch["rules"] = [*rules, *(rule.tree() for rule in missing)]
    selectors = (wanted.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    present = (current.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    absent = [selector for selector in selectors if selector not in present]
    if absent:
        patch["aggregationRule"] = {"clusterRoleSelectors": [*present, *absent]}
    return patch | _labels(current, wanted)


def binding_patch(current: Obj, wanted: Obj) -> Obj:
    """The merge patch of a binding; empty when no subject is missing."""
    if not _may_update(current):
        return {}
    subjects = current.get("subjects") or []
    known = {_identity(subject) for subject in subjects}
    missing = [subject for subject in wanted["subjects"] if _identity(subject) not in known]
    patch: Obj = {"subjects": [*subjects, *missing]} if missing else {}
    return patch | _labels(current, wanted)


def field_patch(current: Obj, wanted: Obj) -> Obj:
    """The merge patch that gives every top-level field of `wanted` but the metadata its value."""
    return {key: value for key, value in wanted.items() if key != "metadata" and not _contains(current.get(key), value)}


def _may_update(current: Obj) -> bool:
    return bool((current["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "true")


def _labels(current: Obj, wanted: Obj) -> Obj:
    present = current["metadata"].get("labels") or {}
    absent = {key: value for key, value in (wanted["metadata"].get("labels") or {}).items() if key not in present}
    return {"metadata": {"labels": absent}} if absent else {}


def _identity(subject: Obj) -> tuple[str, ...]:
    return tuple(subject.get(key) or "" for key in ("kind", "namespace", "name"))


def _contains(current: Any, wanted: Any) -> bool:
    """Whether what is there has all that is wanted; fields filled in by defaults do not count."""
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(_contains(current.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(current, list) and len(current) == len(wanted) and all(map(_contains, current, wanted))
    return bool(current == wanted)
