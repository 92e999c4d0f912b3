"""`pilothouse check --export`: the checks as policies for any Kubernetes cluster, in a folder or as one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from pilothouse.cli.check import read_params
from pilothouse.cli.errors import CommandError
from pilothouse.guard.door.settings import AUDIT, ENFORCE, MODES
from pilothouse.guard.export.actions import Defaults
from pilothouse.guard.export.export import Choices, Export, export
from pilothouse.guard.export.text import MARK, described, files, stream
from pilothouse.guard.finding import Severity
from pilothouse.guard.own.evaluate import OwnChecks
from pilothouse.guard.shipped import other_checks, shipped_trees
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES
from pilothouse.machinery import names


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The command line. `excluded` empty means the system namespaces; `none` among them means none."""

    target: str | None
    mode: str | None = None
    severity: str | None = None
    warned: str | None = None
    excluded: Sequence[str] = ()
    params: str | None = None
    own: Sequence[str] = ()


def run_export(paths: list[str], options: ExportOptions) -> int:
    """Writes the export and says what is not in it; the exit code."""
    if options.target is None:
        raise CommandError(
            "--mode, --severity, --warn-severity and --exclude-namespace go with --export DIR or --export -", code=2
        )
    if options.own:
        raise CommandError("--checks does not go with --export: those are policies already, apply their folder", code=2)
    if paths:
        raise CommandError("--export writes the checks themselves: name no files to check", code=2)
    choices = _understood(options)
    made = export(shipped_trees(), other_checks(), choices)
    to_standard_output = options.target == "-"
    if to_standard_output:
        typer.echo(stream(made, choices), nl=False)
    else:
        _write(Path(options.target), files(made, choices))
    for line in _told(made, choices, options.target):
        typer.echo(line, err=to_standard_output)
    return 0


def _understood(options: ExportOptions) -> Choices:
    mode = options.mode or ENFORCE
    if mode not in MODES:
        raise CommandError(f"--mode {mode}: there are {', '.join(MODES)}", code=2)
    if options.severity and mode != ENFORCE:
        raise CommandError(f"--severity is for --mode {ENFORCE}: {mode} refuses nothing", code=2)
    if options.warned and mode == AUDIT:
        raise CommandError(f"--warn-severity is not for --mode {AUDIT}, which warns of nothing", code=2)
    excluded = [name for name in options.excluded if name != "none"]
    for name in excluded:
        for problem in names.dns1123_label(name):
            raise CommandError(f"--exclude-namespace {name}: {problem}", code=2)
    if not options.excluded:
        excluded = sorted(SYSTEM_NAMESPACES)
    given = read_params(options.params, OwnChecks()) if options.params else {}
    defaults = Defaults(
        mode,
        _severity("--severity", options.severity) or Defaults().severity,
        _severity("--warn-severity", options.warned) or Defaults().warned,
        excluded,
    )
    return Choices(defaults, {tree["metadata"]["name"]: tree for tree in given.values()})


def _severity(option: str, text: str | None) -> Severity | None:
    try:
        return Severity.parse(text) if text else None
    except ValueError as error:
        raise CommandError(f"{option}: {error}", code=2) from error


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Replaces what an earlier export wrote, and touches nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.yaml")):
            if not _is_ours(old):
                raise CommandError(f"{old} was not written by an export; choose a folder of its own", code=2)
            if old.name not in texts:
                old.unlink()
        for name, text in texts.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise CommandError(f"--export {folder}: {error.strerror or error}", code=2) from error


def _is_ours(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(MARK)) == MARK.encode()


def _told(made: Export, choices: Choices, target: str) -> list[str]:
    objects = [tree for entry in made.exported for tree in entry.objects]
    bindings = sum(tree["kind"].endswith("Binding") for tree in objects)
    lines = [f"{len(made.exported)} policies and {bindings} bindings ({described(choices.defaults)})"]
    if target != "-":
        lines.append(f"apply them with: kubectl apply --server-side -f {target}")
    reasons: dict[str, list[str]] = {}
    for entry in made.left_out:
        reasons.setdefault(entry.reason, []).append(entry.check_id)
    if reasons:
        lines.append("not exported:")
    lines += [f"  {reason}: {', '.join(sorted(ids))}" for reason, ids in reasons.items()]
    return lines
