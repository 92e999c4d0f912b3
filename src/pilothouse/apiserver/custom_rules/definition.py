"""Are the rules of a definition's schemas expressions about what they stand at? Said when the definition is written."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from pilothouse.apiserver.custom_rules.rule import InvalidRule, is_valid_path, rules_of
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
            schema = Structural(given["openAPIV3Schema"])
            _check(schema, f"spec.versions[{index}].schema.openAPIV3Schema", "", problems, root=True)


def _check(schema: Structural, path: str, uncorrelated: str, problems: Problems, *, root: bool = False) -> None:
    """`uncorrelated` is the path of the list whose entries cannot be told from those of before, if within one."""
    if not schema.validated:
        return
    if schema.validations:
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
    for where, child, lost in _inner(schema):
        _check(child, f"{path}.{where}", uncorrelated or (path if lost else ""), problems)


def _inner(schema: Structural) -> Iterator[tuple[str, Structural, bool]]:
    for name, child in schema.properties.items():
        yield f"properties[{name}]", child, False
    if schema.additional is not None:
        yield "additionalProperties", schema.additional, False
    if schema.items is not None:
        yield "items", schema.items, schema.list_type != "map"
