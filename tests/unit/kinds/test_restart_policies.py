"""A container's own restart policy, and the rules that go before it."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.restart_validation import check_restart_policy
from pilothouse.kinds.problems import Problems

RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({}, ""),
        ({"restartPolicy": "Never", "restartPolicyRules": [RULE]}, ""),
        ({"restartPolicy": "Sometimes"}, 'c.restartPolicy: Unsupported value: "Sometimes"'),
        ({"restartPolicyRules": [RULE]}, "c.restartPolicy: Required value: must specify restartPolicy when restart"),
        ({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}, "exitCodes: Required value"),
        (
            {"restartPolicy": "Never", "restartPolicyRules": [{**RULE, "action": "Explode"}]},
            'c.restartPolicyRules[0].action: Unsupported value: "Explode"',
        ),
        (
            {"restartPolicy": "Never", "restartPolicyRules": [{**RULE, "exitCodes": {"operator": "Near"}}]},
            'c.restartPolicyRules[0].exitCodes.operator: Unsupported value: "Near"',
        ),
        ({"restartPolicy": "Never", "restartPolicyRules": [RULE] * 21}, "Too many: 21"),
    ],
)
def test_what_is_wrong_is_named(container: dict[str, Any], message: str) -> None:
    problems = Problems()
    check_restart_policy(container, "c", problems)
    assert bool(problems) == bool(message)
    assert message in "".join(f"{cause.field}: {cause.message}" for cause in problems)
