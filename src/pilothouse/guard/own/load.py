"""Reads users' own checks: policies, the bindings that give them parameters, and the parameters. Pure.

A check that cannot be used is a fault with its place; the others are used. Source of bindings and their parameters: the
Kubernetes API reference, ValidatingAdmissionPolicyBinding v1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pilothouse.guard.finding import Check, Item
from pilothouse.guard.podspec import value_at
from pilothouse.guard.schema import form
from pilothouse.guard.shipped import check_of
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import from_label_selector
from pilothouse.policy.admission.judge import CompiledPolicy, compiled_policy
from pilothouse.policy.expressions import LIVE_ONLY, names_in
from pilothouse.policy.load import API_VERSION, KIND, InvalidPolicy, Policy, load_policy

BINDING: Final = "ValidatingAdmissionPolicyBinding"
_SERVED = (1, 35)
_ANNOTATIONS = "metadata.annotations"


class Fault(NamedTuple):
    """Why something in the folder of checks cannot be used; `line` is 0 when unknown."""

    file: str
    message: str
    line: int = 0


class Use(NamedTuple):
    """One way a check is applied: where (`matchResources` of a binding; empty: everywhere), with which parameters (None
    for a check without), and to objects of which namespace ("": of all)."""

    where: Obj
    params: Obj | None = None
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """A check that compiles. `live_only` is what it names that only a live request has; `uses` is empty for a check
    with parameters that nothing in its folder gives."""

    check: Check
    policy: Policy
    compiled: CompiledPolicy
    live_only: tuple[str, ...]
    reads_namespace: bool
    uses: tuple[Use, ...]


class _Unfit(Exception):
    """Something is wrong with the object; `field` is where."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def load(items: Sequence[Item], taken: Collection[str]) -> tuple[list[OwnCheck], list[Fault]]:
    """The checks among these objects; `taken` are ids that other checks have."""
    folder = _Folder(items)
    ids = dict.fromkeys(taken, "a check that ships with Pilothouse")
    checks: list[OwnCheck] = []
    for item in folder.policies:
        try:
            own = _read(item, folder)
            _check_identity(own, ids, {known.policy.name for known in checks})
        except _Unfit as wrong:
            folder.fault(item, str(wrong), wrong.field)
            continue
        ids[own.check.id] = f"the check at {_place(item)}"
        checks.append(own)
    folder.look_at_bindings()
    if not folder.policies:
        folder.faults.append(Fault(items[0].file if items else "", f"there is no {KIND} of {API_VERSION}"))
    return checks, folder.faults


class _Folder:
    """What the folder holds, by what it is for."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.faults: list[Fault] = []
        self.policies = [item for item in items if item.tree.get("kind") == KIND]
        self._bindings = [item for item in items if item.tree.get("kind") == BINDING]
        self._others = [item.tree for item in items if item.tree.get("kind") not in (KIND, BINDING)]

    def fault(self, item: Item, message: str, field: str) -> None:
        self.faults.append(Fault(item.file, message, item.line_of(field)))

    def uses(self, policy: Policy, check: Check) -> Iterator[Use]:
        """By its bindings; without any: everywhere, with the object of its parameters' kind that is named as it."""
        bindings = [item for item in self._bindings if value_at(item.tree, "spec.policyName") == policy.name]
        given = [tree for tree in self._others if f"{tree['apiVersion']}/{tree['kind']}" == policy.param_kind]
        if not bindings and not policy.param_kind:
            yield Use({})
        elif not bindings:
            yield from (Use({}, tree) for tree in given if _name(tree) in (check.id, policy.name))
        for item in bindings:
            where = value_at(item.tree, "spec.matchResources") or {}
            if not policy.param_kind:
                yield Use(where)
            else:
                reference = value_at(item.tree, "spec.paramRef") or {}
                for tree in (tree for tree in given if _referred(reference, tree)):
                    # Without a namespace it means the parameters in the namespace of the object that is judged.
                    yield Use(where, tree, "" if reference.get("namespace") else _namespace(tree))

    def look_at_bindings(self) -> None:
        """Adds the faults of bindings."""
        of_policies = {_name(item.tree): value_at(item.tree, "spec.paramKind") for item in self.policies}
        for item in self._bindings:
            name, wanted = _name(item.tree), str(value_at(item.tree, "spec.policyName"))
            reference = value_at(item.tree, "spec.paramRef")
            if wanted not in of_policies:
                self.fault(item, f"{name}: there is no policy {wanted} beside it", "spec.policyName")
            elif of_policies[wanted] and not any(_referred(reference, tree) for tree in self._others):
                self.fault(item, f"{name}: the parameters it names are not beside it", "spec.paramRef")


def _read(item: Item, folder: _Folder) -> OwnCheck:
    for _, message, path in form(item.tree, _SERVED).hits:
        raise _Unfit(message, path)
    try:
        policy = load_policy(item.tree)
        check = check_of(policy)
        _check_selectors(policy.constraints)
        uses = tuple(folder.uses(policy, check))
        for use in uses:
            _check_selectors(use.where)
    except InvalidPolicy as error:
        raise _Unfit(str(error), _ANNOTATIONS if "annotation" in str(error) else "spec") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise _Unfit(f"{_name(item.tree)}: a selector: {error}", "spec.matchConstraints") from error
    compiled = compiled_policy(item.tree)
    for problem in compiled.problems:
        said = f"{policy.name}: spec.{problem.field}: {' '.join(problem.report.split())}"
        raise _Unfit(said, f"spec.{problem.field}")
    named = names_in(policy)
    live_only = tuple(sorted(named & set(LIVE_ONLY)))
    return OwnCheck(check, policy, compiled, live_only, "namespaceObject" in named, uses)


def _check_identity(own: OwnCheck, ids: dict[str, str], policies: Collection[str]) -> None:
    name, check_id = own.policy.name, own.check.id
    if wrong := names.dns1123_label(check_id):
        raise _Unfit(f"{name}: annotation pilothouse.io/id: {wrong[0]}", _ANNOTATIONS)
    if check_id in ids:
        raise _Unfit(f"{name}: the id {check_id} is that of {ids[check_id]}", _ANNOTATIONS)
    if name in policies:
        raise _Unfit(f"{name}: another policy has this name", "metadata.name")


def _place(item: Item) -> str:
    line = item.line_of("")
    return f"{item.file}:{line}" if line else item.file


def _name(tree: Obj) -> str:
    return str(value_at(tree, "metadata.name") or "")


def _namespace(tree: Obj) -> str:
    return str(value_at(tree, "metadata.namespace") or "")


def _referred(reference: Any, tree: Obj) -> bool:
    """Whether a `paramRef` means an object."""
    if not isinstance(reference, dict):
        return False
    if reference.get("namespace") and _namespace(tree) not in ("", reference["namespace"]):
        return False
    if reference.get("name"):
        return bool(reference["name"] == _name(tree))
    selector, labels = reference.get("selector"), value_at(tree, "metadata.labels") or {}
    return isinstance(selector, dict) and from_label_selector(selector).matches(labels)


def _check_selectors(constraints: Obj) -> None:
    """Raises ValueError, TypeError or AttributeError for a selector that is none."""
    for name in ("objectSelector", "namespaceSelector"):
        from_label_selector(constraints.get(name) or {})
