"""The ready files for pipelines: what they call is there, and does what they expect."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

from pilothouse.cli.main import app

ROOT = Path(__file__).parents[3]
CI = ROOT / "examples" / "ci"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
COMMAND = re.compile(r"^pilothouse (?P<words>[^>]*?)(?: > (?P<file>\S+))?$")


def commands() -> Iterator[tuple[str, str, str]]:
    """File, words of the command line, and where its output goes."""
    for file in sorted(CI.glob("*.yaml")):
        for text in _texts(yaml.safe_load(file.read_text())):
            if found := COMMAND.match(text):
                yield file.name, found["words"], found["file"] or ""
    for hook in yaml.safe_load(HOOKS.read_text()):
        words = hook["entry"].removeprefix("pilothouse ")
        yield HOOKS.name, " ".join((words, *hook["args"])), ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "deploy"


def test_there_are_commands_in_each_file() -> None:
    assert {file for file, _, _ in commands()} == {"github-actions.yaml", "gitlab-ci.yaml", ".pre-commit-hooks.yaml"}


@pytest.mark.parametrize(("file", "words", "output"), [*commands()])
def test_each_command_passes_what_is_fine_and_stops_what_is_not(
    deploy: Path, file: str, words: str, output: str
) -> None:
    fine = CliRunner().invoke(app, words.split())
    assert fine.exit_code == 0, fine.output
    _check_output(output, fine.stdout)

    (deploy / "bad.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\n"
        "spec: {containers: [{name: a, image: a, securityContext: {privileged: true}}]}\n"
    )
    reports = "--fail-on none" in words
    bad = CliRunner().invoke(app, words.split())
    assert bad.exit_code == (0 if reports else 1)
    _check_output(output, bad.stdout)

    (deploy / "broken.yaml").write_text("kind: [\n")
    assert CliRunner().invoke(app, words.split()).exit_code == 2


def _check_output(file: str, text: str) -> None:
    if file.endswith((".sarif", ".json")):
        assert json.loads(text) is not None
    elif file.endswith(".xml"):
        assert ElementTree.fromstring(text).tag == "testsuites"


def test_what_is_written_is_what_is_taken_up() -> None:
    """A report that a pipeline uploads is one that a command of it wrote."""
    for file in ("github-actions.yaml", "gitlab-ci.yaml"):
        written = {output for name, _, output in commands() if name == file}
        taken = {text for text in _texts(yaml.safe_load((CI / file).read_text())) if text in written}
        assert taken == written


def test_the_example_of_hooks_names_hooks_there_are() -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load(HOOKS.read_text())}
    (repo,) = yaml.safe_load((CI / "pre-commit-config.yaml").read_text())["repos"]

    assert [hook["id"] in hooks for hook in repo["hooks"]] == [True, True]
    for hook in hooks.values():
        assert hook["pass_filenames"] is False, "files judged one by one would not find each other"
        assert re.search(hook["files"], "deploy/app.yaml")
