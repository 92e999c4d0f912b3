"""`pilothouse check --fix`: which files are written, and what is said."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pilothouse.cli import manifests, sources
from pilothouse.cli.main import app

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  # one container
  containers:
    - name: a   # the only one
      image: a:1
"""
ESCALATION = "allowPrivilegeEscalation: false"


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], input=text)


def written(file: Path) -> tuple[int, int]:
    return file.stat().st_ino, file.stat().st_mtime_ns


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "in" / "a.yaml"
    file.parent.mkdir()
    file.write_text(POD)
    return file


def test_it_writes_says_what_it_did_and_reports_what_is_left(manifest: Path) -> None:
    manifest.chmod(0o640)

    result = run("--fix", manifest)

    assert manifest.read_text().startswith(POD)
    assert ESCALATION in manifest.read_text()
    assert manifest.stat().st_mode & 0o777 == 0o640
    assert os.listdir(manifest.parent) == ["a.yaml"]
    assert f"mended: {manifest}:7 container a: sets {ESCALATION}  [container-privilege-escalation]" in result.output
    assert "mind: programs that gain rights by setuid" in result.output
    assert "not mended: container-net-raw: a container that may gain" not in result.output
    assert "not mended: container-net-raw: a container that may run as root" in result.output
    report = result.output.partition("v1/Pod/n/p")[2]
    assert "[container-root-allowed]" in report
    assert "[container-privilege-escalation]" not in report
    assert result.exit_code == 1


def test_twice_is_once(manifest: Path) -> None:
    run("--fix", manifest)
    before = written(manifest)

    assert "mended: " not in run("--fix", manifest).output.replace("not mended: ", "")
    assert written(manifest) == before


def test_programs_get_the_report_alone(manifest: Path) -> None:
    result = run("--fix", manifest, "-o", "json")

    ids = {finding["id"] for finding in json.loads(result.stdout)["findings"]}
    assert "container-root-allowed" in ids
    assert "container-privilege-escalation" not in ids
    assert "mended: " in result.stderr


@pytest.mark.parametrize("option", ["--dry-run", "--diff"])
@pytest.mark.parametrize("text", [POD, POD.rstrip("\n"), POD.replace("\n", "\r\n")])
def test_a_dry_run_writes_nothing_and_its_diff_does_the_same(tmp_path: Path, text: str, option: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode())
    before = written(file)

    result = run("--fix", option, file)

    assert written(file) == before
    assert result.exit_code == 1
    assert "would mend: " in result.stderr
    patched = tmp_path / "patched.yaml"
    patched.write_bytes(text.encode())
    (tmp_path / "diff").write_bytes(result.stdout_bytes)
    subprocess.run(["patch", "-s", "--binary", patched, tmp_path / "diff"], check=True)
    run("--fix", file)
    assert patched.read_bytes() == file.read_bytes()
    assert run("--diff", file).stdout == ""
    assert run("--diff", file).exit_code == 0


def test_what_is_accepted_is_left_alone(manifest: Path) -> None:
    words = 'reason="sudo" owner=t expires=2999-01-01'
    manifest.write_text(POD.replace("# the only one", f"# pilothouse:accept container-privilege-escalation {words}"))
    run("--fix", manifest)
    assert ESCALATION in manifest.read_text(), "an exception without a near end does not count"

    near = str(dt.date.today() + dt.timedelta(days=30))
    manifest.write_text(
        POD.replace(
            "# the only one", "# pilothouse:accept container-privilege-escalation " + words.replace("2999-01-01", near)
        )
    )
    run("--fix", manifest)
    assert ESCALATION not in manifest.read_text()
    assert "RuntimeDefault" in manifest.read_text()


def test_links_and_files_of_several_names_are_not_written(manifest: Path, tmp_path: Path) -> None:
    link, hard = tmp_path / "link.yaml", tmp_path / "hard.yaml"
    link.symlink_to(manifest)
    result = run("--fix", link)
    assert "the file is a link: name the one it leads to" in result.output
    assert link.is_symlink()

    hard.hardlink_to(manifest)
    assert "has several names (hard links)" in run("--fix", hard).output
    assert manifest.read_text() == POD


def test_a_file_that_is_reached_by_two_names_is_mended_once(manifest: Path) -> None:
    (manifest.parent / "b.yaml").symlink_to(manifest)

    result = run("--fix", manifest.parent)

    assert manifest.read_text().count(ESCALATION) == 1
    assert "1 object: " in result.output


def test_what_a_link_leads_to_outside_the_folder_is_not_written(manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out.yaml").symlink_to(manifest)

    assert run("--fix", folder).exit_code == 2
    assert manifest.read_text() == POD


def test_standard_input_and_what_is_rendered_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it is in no file that can be written" in run("--fix", "-", text=POD).output

    (tmp_path / "Chart.yaml").write_text("name: c\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "pod.yaml").write_text(POD)

    def rendered(folder: Path, rendering: object, found: list[manifests.Manifest], problems: object) -> None:
        manifests.read_text(f"{folder}/templates/pod.yaml (rendered)", POD, found, [])

    monkeypatch.setattr(sources, "render_chart", rendered)
    assert "it is rendered: mend the template or the kustomization" in run("--fix", tmp_path).output
    assert (tmp_path / "templates" / "pod.yaml").read_text() == POD


def test_a_file_that_does_not_parse_to_its_end_is_not_written(manifest: Path) -> None:
    text = POD + "---\na: [\n"
    manifest.write_text(text)

    result = run("--fix", manifest)

    assert manifest.read_text() == text
    assert result.exit_code == 2
    assert "not all of the file can be read: line 11" in result.output


def test_a_write_that_fails_leaves_the_file_and_nothing_beside_it(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("--fix", manifest)

    assert manifest.read_text() == POD
    assert os.listdir(manifest.parent) == ["a.yaml"]
    assert "cannot be written: No space left on device" in result.output
    assert "mended: " not in result.output.replace("not mended: ", "")


def test_a_cluster_is_not_mended() -> None:
    assert "--fix mends files" in run("--fix", "--context", "here").output
