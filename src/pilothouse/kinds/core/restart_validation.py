"""A container's own restart policy. Source: `validateContainerRestartPolicy` of Kubernetes' core validation."""

from __future__ import annotations

from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

_POLICIES = ("Always", "Never", "OnFailure")
_ACTIONS = ("Restart",)
_OPERATORS = ("In", "NotIn")
_MOST_RULES, _MOST_VALUES = 20, 255


def check_restart_policy(container: Obj, path: str, problems: Problems) -> None:
    """The policy, and the rules that go before it."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is not None:
        problems.one_of(f"{path}.restartPolicy", policy, _POLICIES)
    elif rules:
        problems.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > _MOST_RULES:
        problems.too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES)
    for index, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action") not in _ACTIONS:
            problems.unsupported(f"{at}.action", rule.get("action") or "", _ACTIONS)
        codes = rule.get("exitCodes")
        if codes is None:
            problems.required(f"{at}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in _OPERATORS:
            problems.unsupported(f"{at}.exitCodes.operator", codes.get("operator") or "", _OPERATORS)
        if len(codes.get("values") or ()) > _MOST_VALUES:
            problems.too_many(f"{at}.exitCodes.values", len(codes["values"]), _MOST_VALUES)
