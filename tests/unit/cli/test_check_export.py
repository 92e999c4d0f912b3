"""`pilothouse check --export`."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

from pilothouse.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_a_folder_is_written_and_written_again_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    first = run("--export", folder)
    assert first.exit_code == 0
    assert f"kubectl apply --server-side -f {folder}" in first.output
    assert "looks at more than the object that is written: " in first.output
    (folder / "gone.yaml").write_text((folder / "pod-host-pid.yaml").read_text())

    assert run("--export", folder, "--mode", "audit", "--exclude-namespace", "none").exit_code == 0
    assert not (folder / "gone.yaml").exists()
    policy, *bindings = yaml.safe_load_all((folder / "pod-host-pid.yaml").read_text())
    assert policy["kind"] == "ValidatingAdmissionPolicy"
    assert all(len(entry["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]) <= 2 for entry in bindings)
    assert (folder / "system-namespace-used.yaml").exists()


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1\n")

    result = run("--export", tmp_path)
    assert result.exit_code == 2
    assert "mine.yaml was not written by an export; choose a folder of its own" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["mine.yaml"]


def test_standard_output_holds_nothing_but_the_objects(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: required-labels}\ndata: {labels: team}\n"
    )
    result = run("--export", "-", "--params", tmp_path / "params.yaml")

    trees = list(yaml.load_all(result.stdout, Loader=yaml.CSafeLoader))
    assert {tree["kind"] for tree in trees} == {
        *("Namespace", "ConfigMap", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
    assert "not exported:" in result.stderr


def test_what_cannot_be_meant_is_told() -> None:
    for arguments, told in (
        (["--mode", "warn"], "go with --export DIR"),
        (["--export", "-", "a.yaml"], "name no files"),
        (["--export", "-", "--checks", "own"], "those are policies already, apply their folder"),
        (["--export", "-", "--mode", "strict"], "there are enforce, warn, audit"),
        (["--export", "-", "--mode", "warn", "--severity", "high"], "warn refuses nothing"),
        (["--export", "-", "--severity", "bad"], "--severity: 'bad' is no severity"),
        (["--export", "-", "--exclude-namespace", "A_b"], "--exclude-namespace A_b:"),
        (["--export", "/proc/nowhere"], "--export /proc/nowhere:"),
    ):
        result = run(*arguments)
        assert (result.exit_code, told in result.output) == (2, True), result.output
