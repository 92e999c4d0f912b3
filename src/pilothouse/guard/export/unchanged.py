"""A match condition that keeps a policy from judging writes that change nothing it looks at. Pure.

Without it, what was there before the policies could neither be scaled (Deployment controllers write ReplicaSets) nor
removed (finalizers): every such write would be refused for what the object had before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pilothouse.policy.expressions import renamed
from pilothouse.policy.load import Policy

CONDITION = "changes-what-is-judged"
_POD = "pod"
_PLACES = frozenset({_POD, "podPath"})
_READ = re.compile(r"(?<![\w.])object\s*\.\s*\??(\w+)(?:\s*\.\s*\??(\w+))?")
_NEVER_CHANGES = frozenset({"kind", "apiVersion"})
_CHANGING_METADATA = ("labels", "annotations")


def condition(policy: Policy) -> str:
    """The condition's expression; on creation there is no `oldObject`."""
    variables = {variable.name: variable.expression for variable in policy.variables}
    differences = [f"object.?{field} != oldObject.?{field}" for field in sorted(_fields(policy, variables))]
    differences += [
        f"object.metadata.?{field} != oldObject.metadata.?{field}" for field in sorted(_metadata(policy, variables))
    ]
    if _POD in variables and "object.?spec != oldObject.?spec" not in differences:
        pod = variables[_POD]
        differences.insert(0, f"({pod}) != ({renamed(pod, {'object': 'oldObject'})})")
    return " || ".join(("oldObject == null", *differences))


def _fields(policy: Policy, variables: dict[str, str]) -> set[str]:
    """Top-level fields the policy reads, but for the pod's, which is compared as such."""
    return {top for top, _ in _reads(policy, variables)} - _NEVER_CHANGES - {"metadata"}


def _metadata(policy: Policy, variables: dict[str, str]) -> set[str]:
    found = {below for top, below in _reads(policy, variables) if top == "metadata"}
    return set(_CHANGING_METADATA) if "" in found else found & set(_CHANGING_METADATA)


def _reads(policy: Policy, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    pod = variables.get(_POD)
    texts = [text for name, text in variables.items() if name not in _PLACES]
    texts += [entry.expression for entry in (*policy.conditions, *policy.audit)]
    texts += [text for rule in policy.validations for text in (rule.expression, rule.message_expression)]
    for text in texts:
        for match in _READ.finditer(text.replace(pod, "") if pod else text):
            yield match[1], match[2] or ""
