"""CEL text: where variables stand in an expression, and putting their own expressions in their place. Pure.

A policy's `variables.x` is lazily evaluated and pure, so its expression in brackets means the same. Putting it in place
lets one C++ evaluation answer a whole rule, without carrying values to Python and back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pilothouse.policy.load import InvalidPolicy, Policy

LIVE_ONLY = ("request", "authorizer")
"""What only a live request has."""

_TOKEN = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<variable>(?<![\w.])variables\s*\.\s*(?P<name>\w+))"""
    r"""|(?P<identifier>(?<![\w.])[A-Za-z_]\w*)""",
    re.DOTALL,
)
_LONGEST = 65_536


def identifiers(expression: str) -> set[str]:
    """The free-standing names of an expression (not fields, not text)."""
    return {match["identifier"] for match in _TOKEN.finditer(expression) if match["identifier"]}


def names_in(policy: Policy) -> set[str]:
    """The free-standing names of all expressions of a policy."""
    expressions = (
        *(entry.expression for entry in (*policy.conditions, *policy.variables, *policy.audit)),
        *(text for rule in policy.validations for text in (rule.expression, rule.message_expression)),
    )
    return {name for text in expressions for name in identifiers(text)}


def variables_of(expression: str) -> set[str]:
    """The variables an expression reads."""
    return {match["name"] for match in _TOKEN.finditer(expression) if match["name"]}


def renamed(expression: str, names: Mapping[str, str]) -> str:
    """The expression with free-standing names replaced by others."""
    return _TOKEN.sub(lambda match: names.get(match["identifier"] or "", match[0]), expression)


def put_in_place(expression: str, replacements: Mapping[str, str]) -> str:
    """The expression with each `variables.x` replaced. Raises InvalidPolicy (unknown, too long)."""

    def replace(name: str) -> str:
        if name not in replacements:
            raise InvalidPolicy(f"variables.{name} is not declared before it is used")
        return f"({replacements[name]})"

    result = _substitute(expression, replace)
    if len(result) > _LONGEST:
        raise InvalidPolicy(f"an expression grows beyond {_LONGEST} characters with its variables written out")
    return result


def _substitute(expression: str, replace: Callable[[str], str]) -> str:
    return _TOKEN.sub(lambda match: replace(match["name"]) if match["name"] else match[0], expression)
