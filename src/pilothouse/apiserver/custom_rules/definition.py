"""Are the rules of a definition's schemas expressions about what they stand at, and can they be afforded? Said when the
definition is written."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from pilothouse.apiserver.custom_rules.costs import Costs
from pilothouse.apiserver.custom_rules.rule import InvalidRule, Rule, is_valid_path, rules_of
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import Structural

_KEY = b"x-kubernetes-validations"


def check_definition_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Reports rules that do not compile. The schemas have been found structural before."""
    before = {v.get("name"): section(v, "schema") for v in (section(old, "spec").get("versions") or ())} if old else {}
    for index, version in enumerate(section(obj, "spec").get("versions") or ()):
        given = section(version, "schema")
        if given != before.get(version.get("name")) and _KEY in orjson.dumps(given):
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            look = _Look(problems)
            look.at(Structural(given["openAPIV3Schema"]), path, "", 1, root=True)
            look.costs.check(path, problems)


class _Look:
    """At all rules of one schema."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.costs = Costs()

    def at(
        self, schema: Structural, path: str, uncorrelated: str, occurrences: int | None, *, root: bool = False
    ) -> None:
        """`uncorrelated` is the path of the list whose entries cannot be told from those of before, if within one;
        `occurrences` how many such values an object can have, None when its size alone bounds them."""
        if not schema.validated:
            return
        if schema.validations:
            source = schema.source
            found = list(self._rules(schema, path, uncorrelated, root))
            self.costs.add(found, source, occurrences, self._problems, root=root)
        for where, child, lost, most in _inner(schema):
            within = None if occurrences is None or most is None else occurrences * most
            self.at(child, f"{path}.{where}", uncorrelated or (path if lost else ""), within)

    def _rules(self, schema: Structural, path: str, uncorrelated: str, root: bool) -> Iterator[tuple[str, Rule]]:
        """Those that compile, with their paths."""
        problems = self._problems
        for index, rule in enumerate(rules_of(schema, root=root).rules):
            place = f"{path}.x-kubernetes-validations[{index}]"
            source = schema.validations[index]
            if isinstance(rule, InvalidRule):
                problems.invalid(f"{place}.{rule.part}", source, str(rule))
            elif rule.uses_old and not rule.optional_old and uncorrelated:
                why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
                problems.invalid(f"{place}.rule", source.get("rule"), why)
            if source.get("fieldPath") and not is_valid_path(schema, source["fieldPath"]):
                problems.invalid(f"{place}.fieldPath", source["fieldPath"], "fieldPath must be a valid path")
            if isinstance(rule, Rule):
                yield place, rule


def _inner(schema: Structural) -> Iterator[tuple[str, Structural, bool, int | None]]:
    """What is inside: where, whether its entries cannot be told from those of before, and how many there can be."""
    for name, child in schema.properties.items():
        yield f"properties[{name}]", child, False, 1
    if schema.additional is not None:
        yield "additionalProperties", schema.additional, False, schema.rules.get("maxProperties")
    if schema.items is not None:
        yield "items", schema.items, schema.list_type != "map", schema.rules.get("maxItems")
