"""Every check alerts where it must and is quiet where it must be: the table is `cases/*.yaml` (see its README)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilothouse.guard.exceptions.checks import EXCEPTION_CHECKS
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import Options, Report, judge
from pilothouse.guard.shipped import all_checks
from pilothouse.machinery.objects import Obj

FOLDER = Path(__file__).parent / "cases"
CASES: dict[str, Any] = {
    name: case
    for file in sorted(FOLDER.glob("*.yaml"))
    for name, case in yaml.safe_load(file.read_text()).items()
    if not name.startswith("x-")
}


def _objects(thing: Obj) -> list[Obj]:
    if "objects" in thing:
        return copy.deepcopy(thing["objects"])
    if "object" in thing:
        tree = copy.deepcopy(thing["object"])
        tree.setdefault("metadata", {}).setdefault("name", "a")
        return [tree]
    spec: Obj = {"containers": [{"name": "a", "image": "registry.example/a:1"}]}
    if "container" in thing:
        spec["containers"][0] |= thing["container"]
    elif "init" in thing:
        spec["initContainers"] = [{"name": "b", "image": "registry.example/b:1"} | thing["init"]]
    else:
        spec |= thing["pod"]
    template = {"metadata": {"labels": {"app": "a"}}, "spec": spec}
    workload = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    return [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": workload}]


def _judge(name: str, thing: Obj) -> Report:
    data = CASES[name].get("params")
    params = {f"{name}.pilothouse.io": {"apiVersion": "v1", "kind": "ConfigMap", "data": data}} if data else {}
    return judge([Item(tree) for tree in _objects(thing)], Options(params=params))


def _table(column: str) -> list[Any]:
    return [
        pytest.param(name, thing, id=f"{name}-{number}")
        for name, case in CASES.items()
        for number, thing in enumerate(case[column])
    ]


@pytest.mark.parametrize(("name", "thing"), _table("alert"))
def test_alerts(name: str, thing: Obj) -> None:
    assert name in {finding.check.id for finding in _judge(name, thing).findings}


@pytest.mark.parametrize(("name", "thing"), _table("quiet"))
def test_is_quiet(name: str, thing: Obj) -> None:
    report = _judge(name, thing)

    assert name not in {finding.check.id for finding in report.findings}
    assert name not in {missed.check_id for missed in report.not_evaluated if missed.unusual}


def test_every_check_has_cases_and_every_case_a_check() -> None:
    checks = {check.id for check in all_checks() if check not in EXCEPTION_CHECKS}  # those have tests of their own

    assert {name for name, case in CASES.items() if case.get("alert") and case.get("quiet")} == checks
