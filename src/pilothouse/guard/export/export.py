"""From the shipped checks to policies, bindings and parameters, and the list of what is left out. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from pilothouse.guard.export.actions import Case, Defaults, cases, cluster_case
from pilothouse.guard.export.unchanged import CONDITION, condition
from pilothouse.guard.finding import Check
from pilothouse.guard.shipped import check_of
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES
from pilothouse.kinds.catalogue import KINDS
from pilothouse.machinery.objects import Obj
from pilothouse.policy.load import API_VERSION, load_policy

NAMESPACE: Final = "pilothouse-checks"
"""Where parameters go that name no namespace of their own."""
LABELS: Final = {"app.kubernetes.io/managed-by": "pilothouse", "app.kubernetes.io/part-of": "pilothouse-checks"}
_OF_SYSTEM: Final = "system-namespace-used"
_CLUSTER_WIDE: Final = frozenset(
    (kind.resource.group, kind.resource.plural) for kind in KINDS if not kind.resource.namespaced
)


class Choices(NamedTuple):
    """How the policies are bound; `params` are ConfigMaps by id of check."""

    defaults: Defaults = Defaults()
    params: Mapping[str, Obj] = MappingProxyType({})


class Exported(NamedTuple):
    """A check's policy with its bindings, and its parameters before them."""

    check: Check
    objects: tuple[Obj, ...]


class LeftOut(NamedTuple):
    """A check that is not exported, and why."""

    check_id: str
    reason: str


class Export(NamedTuple):
    """All of it."""

    exported: tuple[Exported, ...]
    left_out: tuple[LeftOut, ...]


def export(policies: Iterable[Obj], others: Iterable[Check], choices: Choices) -> Export:
    """What a cluster needs to judge by these policies; `others` are checks that are no policies."""
    exported: list[Exported] = []
    left_out: list[LeftOut] = []
    for tree in policies:
        check = check_of(load_policy(tree))
        reason = _not_possible(tree, check, choices)
        if reason:
            left_out.append(LeftOut(check.id, reason))
        else:
            exported.append(Exported(check, tuple(_objects(tree, check, choices))))
    left_out += [LeftOut(check.id, "looks at more than the object that is written") for check in others]
    return Export(tuple(exported), tuple(left_out))


def _not_possible(tree: Obj, check: Check, choices: Choices) -> str:
    if tree["spec"].get("paramKind") and check.id not in choices.params:
        return f"needs parameters: --params FILE with a ConfigMap named {check.id}"
    if check.id == _OF_SYSTEM and set(choices.defaults.excluded) >= SYSTEM_NAMESPACES:
        return "is about namespaces that are excluded"
    return ""


def _objects(tree: Obj, check: Check, choices: Choices) -> Iterator[Obj]:
    reference: Obj = {}
    if check.id in choices.params:
        given = choices.params[check.id]
        namespace = given["metadata"].get("namespace") or NAMESPACE
        if namespace == NAMESPACE:
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": dict(LABELS)}}
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": check.id, "namespace": namespace, "labels": dict(LABELS)},
            "data": given.get("data") or {},
        }
        reference = {
            "paramRef": {"name": check.id, "namespace": namespace, "parameterNotFoundAction": "Deny"}
        }  # not found is an error, which follows the failure policy; Allow would pass in silence
    yield _policy(tree)
    for case, scope in _bound(tree, check, choices):
        yield _binding(tree["metadata"]["name"], case, scope, reference)


def _policy(tree: Obj) -> Obj:
    found = copy.deepcopy(tree)
    found["metadata"]["labels"] = dict(LABELS)
    entry = {"name": CONDITION, "expression": condition(load_policy(tree))}
    found["spec"]["matchConditions"] = [*(found["spec"].get("matchConditions") or ()), entry]
    return found


def _bound(tree: Obj, check: Check, choices: Choices) -> Iterator[tuple[Case, str]]:
    """The cases, each with the scope it is for, "" for either.

    A namespace selector means every object that is in no namespace, so those are taken out by scope.
    """
    scopes = {
        (group, plural) in _CLUSTER_WIDE
        for rule in tree["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }
    if False in scopes:
        for case in cases(check.severity, choices.defaults):
            yield case, "Namespaced" if True in scopes else ""
    if True in scopes:
        yield cluster_case(check.severity, choices.defaults), "Cluster" if False in scopes else ""


def _binding(policy: str, case: Case, scope: str, reference: Obj) -> Obj:
    meant: Obj = {}
    if case.expressions:
        meant["namespaceSelector"] = {"matchExpressions": list(case.expressions)}
    if scope:
        every = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"]}
        meant["resourceRules"] = [{**every, "scope": scope}]
    first, _, rest = policy.partition(".")
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"{first}-{case.name}.{rest}", "labels": dict(LABELS)},
        "spec": {
            "policyName": policy,
            "validationActions": list(case.actions),
            **reference,
            **({"matchResources": meant} if meant else {}),
        },
    }
