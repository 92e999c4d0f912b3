from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pilothouse.cli import manifests, rendered, sources
from pilothouse.cli.main import app
from pilothouse.cli.sources import read_sources

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\n"
PRIVILEGED = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nspec:\n"
    "  containers: [{name: a, image: a, securityContext: {privileged: true}}]\n"
)


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], input=text)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_exit_code_0_when_nothing_is_as_bad_as_asked(tmp_path: Path) -> None:
    assert run(write(tmp_path, a=CONFIG)).exit_code == 0


def test_exit_code_1_and_the_place_of_findings(tmp_path: Path) -> None:
    result = run(write(tmp_path, a=PRIVILEGED))

    assert result.exit_code == 1
    assert f"{tmp_path}/a.yaml:5  spec.containers[0].securityContext.privileged" in result.output


def test_fail_on_decides(tmp_path: Path) -> None:
    write(tmp_path, a=PRIVILEGED)

    assert run(tmp_path, "--fail-on", "none").exit_code == 0
    assert run(tmp_path, "--fail-on", "low").exit_code == 1
    assert run(tmp_path, "--fail-on", "dreadful").exit_code == 2


def test_what_does_not_parse_is_exit_code_2_with_its_line_and_the_rest_is_checked(tmp_path: Path) -> None:
    result = run(write(tmp_path, a=PRIVILEGED, b="a: 1\nb: [\n"))

    assert result.exit_code == 2
    assert f"not read: {tmp_path}/b.yaml:3" in result.output
    assert "container-privileged" in result.output


def test_an_evaluation_error_is_exit_code_2(tmp_path: Path) -> None:
    result = run(write(tmp_path, a="apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: 3}\n"))

    assert result.exit_code == 2
    assert "not checked: v1/Pod/p" in result.output


def test_standard_input_and_json() -> None:
    result = run("-", "-o", "json", text=PRIVILEGED)

    tree = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "container-privileged" in {finding["id"] for finding in tree["findings"]}


def test_new_only(tmp_path: Path) -> None:
    manifest = write(tmp_path, a=PRIVILEGED) / "a.yaml"
    saved = tmp_path / "saved.txt"
    saved.write_text(run(manifest, "-o", "json").stdout)

    result = run(manifest, "--new-only", saved)

    assert result.exit_code == 0
    assert "0 critical, 0 high" in result.output
    assert run(manifest, "--new-only", tmp_path / "none").exit_code == 2


def test_explain_by_id_and_by_another_tool_s_name() -> None:
    assert "Privileged container" in run("--explain", "container-privileged").output
    assert "Privileged container" in run("--explain", "runAsPrivileged").output
    assert "did you mean container-privileged" in run("--explain", "container-priviledged").output


@pytest.mark.parametrize(
    "arguments", [(), ("-o", "xml", "a"), ("--kubernetes-version", "new", "a"), ("--params", "no.yaml", "a")]
)
def test_a_wrong_command_line_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_parameters_come_from_config_maps(tmp_path: Path) -> None:
    manifest = write(tmp_path, a=PRIVILEGED) / "a.yaml"
    params = tmp_path / "params.yml"
    params.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: image-registry-not-allowed}\n"
        "data: {registries: r.example/}\n"
    )

    assert "[image-registry-not-allowed]" in run(manifest, "--params", params).output
    assert "[image-registry-not-allowed]" not in run(manifest).output


def test_links_out_of_the_folder_are_told_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    write(outside, secret=PRIVILEGED)
    (inside / "link.yaml").symlink_to(outside / "secret.yaml")
    (inside / "folder").symlink_to(outside)

    found = read_sources([str(inside)])

    assert found.manifests == []
    assert sorted(Path(problem.file).name for problem in found.problems) == ["folder", "link.yaml"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_BYTES", 100)
    write(tmp_path, a=CONFIG + "#" * 100)

    assert "larger than" in run(tmp_path / "a.yaml").output


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 50_000,
        "- " * 50_000,
        "".join(" " * depth + "a:\n" for depth in range(3000)),
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join(['*' + p] * 10)}]\n" for p, n in zip("abcdefg", "bcdefgh")),
        "a: &a {b: *a}\n",
    ],
)
def test_yaml_that_would_break_the_reader_is_refused(tmp_path: Path, text: str) -> None:
    result = run(write(tmp_path, a=text))

    assert result.exit_code == 2
    assert f"not read: {tmp_path}/a.yaml" in result.output


def test_what_a_manifest_says_cannot_move_the_cursor() -> None:
    result = run("-", text=PRIVILEGED.replace("name: p", 'name: "p\\e[2J"'))

    assert "\x1b" not in result.stdout


def test_an_empty_folder_is_not_green(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 2


@pytest.mark.parametrize(("file", "program"), [("Chart.yaml", "helm"), ("kustomization.yaml", "kubectl")])
def test_charts_and_kustomizations_are_told_where_their_program_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, program: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / file).write_text("name: a\nresources: [other.yaml]\n")
    write(tmp_path, other=PRIVILEGED)

    read = read_sources([str(tmp_path)])
    found, problems = read.manifests, read.problems

    assert found == []
    assert f"{program} is not installed" in problems[0].message


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A program of this name that is found first."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")


def chart(folder: Path, text: str = "name: a\n") -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(text)
    (folder / "templates" / "a.yaml").write_text("{{ no yaml }}\n")
    return folder


def test_a_chart_is_what_helm_renders_and_objects_are_those_of_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PRIVILEGED.replace("name: p", "name: q")
    printed = f"---\n# Source: a/templates/a.yaml\n{PRIVILEGED}---\n# Source: a/charts/b/templates/gone.yaml\n{other}"
    program(tmp_path, monkeypatch, "helm", f"echo \"$@\" > {tmp_path}/said\ncat <<'END'\n{printed}END")
    folder = chart(tmp_path / "chart")

    found = read_sources([str(folder)])
    result = run(folder, "-o", "sarif", "--helm-values", "v.yaml", "--kubernetes-version", "1.30", "-n", "shop")

    places = {(m.name, m.file) for m in found.manifests}
    assert places == {("p", f"{folder}/templates/a.yaml (rendered)"), ("q", f"{folder}/Chart.yaml (rendered)")}
    assert found.problems == []
    results = json.loads(result.stdout)["runs"][0]["results"]
    physical = [place["locations"][0]["physicalLocation"] for place in results]
    assert {place["artifactLocation"]["uri"] for place in physical} == {
        f"{folder}/templates/a.yaml",
        f"{folder}/Chart.yaml",
    }
    assert not any("region" in place for place in physical), "lines are those of what helm prints"
    assert "--namespace shop --kube-version 1.30.0 --values v.yaml" in (tmp_path / "said").read_text()


def test_a_chart_that_cannot_be_rendered_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = chart(tmp_path / "chart")
    program(tmp_path, monkeypatch, "helm", "echo 'no such value' >&2; exit 1")
    assert "helm cannot render it: no such value" in read_sources([str(folder)]).problems[0].message

    program(tmp_path, monkeypatch, "helm", "exec cat /dev/zero")
    assert "helm renders more than 32 MiB" in read_sources([str(folder)]).problems[0].message

    monkeypatch.setattr(rendered, "_TIMEOUT", 0.05)
    program(tmp_path, monkeypatch, "helm", "exec tail -f /dev/null")
    assert "it took longer than" in read_sources([str(folder)]).problems[0].message


def test_a_library_chart_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a=CONFIG)
    folder = chart(tmp_path / "lib", "name: a\ntype: library\n")

    found = read_sources([str(tmp_path)])

    assert (found.passed_over, found.problems) == ([str(folder)], [])


def test_kustomizations_are_rendered_once_and_what_none_names_is_read_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'printf "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n" $(basename $2)'
    program(tmp_path, monkeypatch, "kubectl", said.replace("\n", "\\n"))
    site = tmp_path / "site"
    files = {
        "kustomization.yaml": "resources: [deploy.yaml]\nconfigMapGenerator: [{name: a, files: [x=data.yaml]}]\n",
        "deploy.yaml": PRIVILEGED,
        "data.yaml": CONFIG,
        "overlays/prod/kustomization.yml": "resources: [../..]\ncomponents: [../../parts]\n",
        "overlays/test/Kustomization": "bases:\n- ../../\n",
        "parts/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n",
        "lonely/kustomization.yaml": "kind: Component\n",
        "other/alone.yaml": CONFIG.replace("name: a", "name: alone"),
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)

    found = read_sources([str(site)])

    assert (found.problems, found.passed_over) == ([], [f"{site}/lonely"])
    assert [(manifest.name, str(Path(manifest.file).relative_to(site))) for manifest in found.manifests] == [
        ("prod", "overlays/prod/kustomization.yml (rendered)"),
        ("test", "overlays/test/Kustomization (rendered)"),
        ("alone", "other/alone.yaml"),
    ]


def test_documents_after_one_that_does_not_parse_are_read_and_keep_their_lines(tmp_path: Path) -> None:
    write(tmp_path, a=f"a: [\n---\n{PRIVILEGED}---\n3: x\n---\n{CONFIG}")

    read = read_sources([str(tmp_path)])
    found, problems = read.manifests, read.problems

    assert [(manifest.name, manifest.line) for manifest in found] == [("p", 3), ("a", 11)]
    assert [problem.line for problem in problems] == [2, 9]


def test_objects_of_any_shape_are_judged_or_told_never_a_crash() -> None:
    hostile = Path(__file__).parents[1] / "guard" / "hostile.yaml"
    result = run(hostile, "-o", "json")

    tree = json.loads(result.stdout)
    assert result.exit_code == 2
    assert tree["objects"] == 13
    assert {entry["id"] for entry in tree["notEvaluated"]} >= {"all checks across objects"}


def test_exceptions_do_not_fail_the_run_and_can_be_left_out_of_account(tmp_path: Path) -> None:
    far = (dt.datetime.now(dt.UTC) + dt.timedelta(days=90)).date()
    ids = {finding["id"] for finding in json.loads(run("-", "-o", "json", text=PRIVILEGED).stdout)["findings"]}
    words = f'{",".join(sorted(ids))} reason="it must" owner=team expires={far}'
    manifest = write(tmp_path, a=f"# pilothouse:accept {words}\n{PRIVILEGED}") / "a.yaml"

    accepted = run(manifest, "--fail-on", "low")

    assert accepted.exit_code == 0
    assert f"{len(json.loads(run(manifest, '-o', 'json').stdout)['accepted'])} accepted" in accepted.output
    assert run(manifest, "--no-exceptions").exit_code == 1


def test_a_repository_holds_other_files_than_manifests(tmp_path: Path) -> None:
    write(tmp_path, a=CONFIG, compose="services: {web: {image: a}}\n", values="a: 1\n---\nb: 2\n")
    write(tmp_path, config="apiVersion: v1\nkind: Config\ncurrent-context: here\n")
    write(tmp_path, workflow="on: {push: {}}\njobs: {}\n")
    (tmp_path / "package.json").write_text('{"scripts": {"kind": "none"}, "list": [{"apiVersion": 3}]}')
    for folder in (".git", "node_modules", "venv"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, theirs=PRIVILEGED)
    (tmp_path / "venv" / "pyvenv.cfg").touch()

    result = run(tmp_path, "-o", "json")

    tree = json.loads(result.stdout)
    assert result.exit_code == 0
    assert tree["objects"] == 1
    passed = ["compose.yaml", "config.yaml", "node_modules", "package.json", "values.yaml", "venv", "workflow.yaml"]
    assert sorted(Path(name).name for name in tree["passedOver"]) == passed
    assert "passed over, since there are no objects in it" in run(tmp_path).output


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nmetadata: {name: a}\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: {}\n",
        "apiVersion: v1\nkind: Pod\nspec: [\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\non: true\n",
        CONFIG + "---\na: 1\n",
    ],
)
def test_what_was_meant_to_be_an_object_is_not_passed_over(tmp_path: Path, text: str) -> None:
    result = run(write(tmp_path, a=text, b=CONFIG))

    assert result.exit_code == 2
    assert f"not read: {tmp_path}/a.yaml" in result.output


def test_what_is_named_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a="services: {}\n")

    assert "lacks apiVersion" in run(tmp_path / "a.yaml").output
    assert run(tmp_path / "a.yaml").exit_code == 2
    assert "no objects found" in run(tmp_path).output
    assert run(tmp_path).exit_code == 2


def test_text_of_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(PRIVILEGED.encode("utf-16"))

    assert "cannot be read: 'utf-8'" in run(write(tmp_path, b=CONFIG)).output


def test_a_folder_may_hold_anything(tmp_path: Path) -> None:
    folder = write(tmp_path, a=CONFIG)
    os.mkfifo(folder / "pipe.yaml")
    (folder / "circle.yaml").symlink_to("circle.yaml")
    (folder / "nowhere.yaml").symlink_to("missing.yaml")
    (folder / "again.yaml").symlink_to("a.yaml")
    (folder / "around").symlink_to(".")
    (folder / "folder.yaml").mkdir()

    found = read_sources([str(folder)])

    assert [manifest.file for manifest in found.manifests] == [f"{folder}/a.yaml"]
    said = {Path(problem.file).name: problem.message for problem in found.problems}
    assert set(said) == {"pipe.yaml", "circle.yaml", "nowhere.yaml"}
    assert said["pipe.yaml"] == "is no regular file and is not read"
    assert run(folder / "circle.yaml").exit_code == 2


def test_a_link_to_what_the_folder_does_not_list_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(CONFIG)
    (tmp_path / "a.yaml").symlink_to("a.txt")

    assert len(read_sources([str(tmp_path)]).manifests) == 1


def test_large_json_without_objects_is_passed_over_and_with_them_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "MAX_BYTES", 1000)
    monkeypatch.setattr(sources, "_PIECE", 64)
    write(tmp_path, a=CONFIG)
    (tmp_path / "data.json").write_text(json.dumps({"a": "x" * 2000}))
    (tmp_path / "list.json").write_text(json.dumps({"a": "x" * 1990, "kind": "List"}))

    found = read_sources([str(tmp_path)])

    assert [Path(name).name for name in found.passed_over] == ["data.json"]
    assert [(Path(problem.file).name, "larger than" in problem.message) for problem in found.problems] == [
        ("list.json", True)
    ]


def test_what_is_shown_is_less_than_what_counts(tmp_path: Path) -> None:
    write(tmp_path, a=PRIVILEGED)
    whole, part = (json.loads(run(tmp_path, "-o", "json", *more).stdout) for more in ((), ("--show", "high")))

    assert {finding["severity"] for finding in part["findings"]} == {"critical", "high"}
    assert len(part["findings"]) + part["milder"] == len(whole["findings"])
    assert (part["score"], part["grade"]) == (whole["score"], whole["grade"])
    assert f"({part['milder']} less severe, not shown)" in run(tmp_path, "--show", "high").output
    assert run(tmp_path, "--show", "critical", "--fail-on", "low").exit_code == 1
    assert run(tmp_path, "--show", "dreadful").exit_code == 2


def test_fail_below_a_score(tmp_path: Path) -> None:
    write(tmp_path, a=PRIVILEGED)
    score = json.loads(run(tmp_path, "-o", "json").stdout)["score"]

    assert run(tmp_path, "--fail-on", "none", "--fail-below", score).exit_code == 0
    assert run(tmp_path, "--fail-on", "none", "--fail-below", score + 1).exit_code == 1


def test_a_name_of_another_tool_that_is_nearly_right_is_understood() -> None:
    assert "did you mean notReadOnlyRootFilesystem" in run("--explain", "noReadOnlyRootFilesystem").output


def test_what_several_processes_read_and_judge_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(600):
        text = PRIVILEGED if number % 3 else CONFIG
        write(tmp_path, **{f"f{number}": text.replace("namespace: n", f"namespace: n{number}")})
    write(tmp_path, odd="a: [", other="- 1\n", unfit=PRIVILEGED.replace("image: a", "image: [a]"))
    write(tmp_path, team="apiVersion: v1\nkind: Namespace\nmetadata: {name: n1, labels: {a: b}}\n")

    said = {}
    for processors in ({0}, {0, 1, 2}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, processors=processors: processors)
        result = run(tmp_path, "-o", "json")
        assert result.exit_code == 2
        said[len(processors)] = json.loads(result.stdout)
    assert said[1] == said[3]
    assert said[1]["objects"] == 602
