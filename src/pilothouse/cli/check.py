"""`pilothouse check`: configuration checks over files, without engine, root or network; or over any live cluster.

Exit codes: 0 nothing at or above --fail-on; 1 findings at or above it; 2 something could not be read or checked (or the
command line is wrong), whatever else was found.
"""

from __future__ import annotations

import datetime as dt
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from pilothouse.cli import fix
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import read
from pilothouse.cli.own_checks import known_checks, read_own
from pilothouse.cli.rendered import Rendering
from pilothouse.cli.sources import read_sources
from pilothouse.guard.baseline import BadBaseline, fingerprints, new_only
from pilothouse.guard.exceptions.apply import Rules, with_exceptions
from pilothouse.guard.finding import Check, Item, Severity
from pilothouse.guard.judge import Options, Report, from_severity, judge, worst
from pilothouse.guard.own.evaluate import OwnChecks
from pilothouse.guard.removals import parse_version
from pilothouse.guard.report import FORMATS
from pilothouse.guard.report.document import Outcome, Unread
from pilothouse.guard.report.text import explanation, plain, text_report
from pilothouse.guard.shipped import all_checks
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.parts import in_parts

_COLOURS = {
    "critical": typer.colors.BRIGHT_RED,
    "high": typer.colors.RED,
    "medium": typer.colors.YELLOW,
    "low": typer.colors.BLUE,
}

_NOTHING = Report((), (), 0)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The command line."""

    output: str | None = None
    fail_on: str = "high"
    new_only: str | None = None
    version: str = "1.35"
    namespace: str = "default"
    params: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    checks: tuple[str, ...] = ()
    exceptions: bool = True
    fix: bool = False
    dry_run: bool = False
    helm_values: tuple[str, ...] = ()
    show: str = "low"
    fail_below: int = 0

    @property
    def live(self) -> bool:
        """Whether a cluster is meant, not files."""
        return self.context is not None or self.kubeconfig is not None


def run_check(paths: list[str], options: CheckOptions) -> int:
    """Checks and prints; the exit code."""
    own, faults = read_own(options.checks)
    threshold, chosen = _understood(options, own)
    if not paths and not options.live:
        raise CommandError("name files or folders to check, or - for standard input", code=2)
    if paths and options.live:
        raise CommandError("name files, or a cluster by --context or --kubeconfig, not both", code=2)
    if options.fix and options.live:
        raise CommandError("--fix mends files, not a cluster", code=2)
    run = _Run(paths, options, chosen, tuple(faults), _baseline(options.new_only) if options.new_only else None)
    items, outcome = run.judged()
    if options.fix:
        mends = fix.plan(items, outcome.report.findings)
        if options.dry_run:
            return _show_fix(mends, outcome)
        fix.write(mends)
        fix.tell(mends, dry=False, error=options.output not in (None, "text"))
        items, outcome = run.judged()
    shown = from_severity(outcome.report, Severity.parse(options.show))
    _print(replace(outcome, report=shown), options.output)
    return _exit_code(outcome, threshold, options.fail_below)


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run judges, and how; `known` are the fingerprints of a saved run."""

    paths: list[str]
    options: CheckOptions
    chosen: Options
    faults: tuple[Unread, ...]
    known: Mapping[str, int] | None

    def judged(self) -> tuple[list[Item], Outcome]:
        """Reads and judges."""
        options, own = self.options, self.chosen.own
        with _uncollected():
            items, rest = _cluster(options, own) if options.live else _files(self.paths, options)
            report = judge(items, self.chosen, in_parts)
            if options.exceptions:
                ids = [check.id for check in known_checks(own)]
                rules = Rules(ids, dt.datetime.now(dt.UTC), options.live, options.namespace)
                report = with_exceptions(report, items, rules)
        if self.known is not None:
            report = new_only(report, self.known)
        return items, replace(rest, report=report, unread=(*self.faults, *rest.unread))


def _show_fix(mends: Sequence[fix.FileMends], outcome: Outcome) -> int:
    """Prints what would be mended; exit code 1 when something would, 2 when not all could be read."""
    changes = fix.diff(mends)
    typer.echo(changes, nl=False)
    fix.tell(mends, dry=True, error=True)
    for entry in outcome.unread:
        typer.echo(_unread(entry), err=True)
    return 2 if outcome.incomplete else 1 if changes else 0


def _unread(entry: Unread) -> str:
    return f"not read: {entry.file}{f':{entry.line}' if entry.line else ''}: {entry.message}"


def _files(paths: list[str], options: CheckOptions) -> tuple[list[Item], Outcome]:
    """The objects of files, and an outcome that so far tells what could not be read."""
    rendering = Rendering(options.namespace, parse_version(options.version), options.helm_values)
    found = read_sources(paths, rendering)
    items = [Item(manifest.tree, manifest.file, manifest.line_of, manifest.comments) for manifest in found.manifests]
    unread = tuple(Unread(problem.file, problem.message, problem.line) for problem in found.problems)
    return items, Outcome(_NOTHING, unread, tuple(found.passed_over))


def _cluster(options: CheckOptions, own: OwnChecks) -> tuple[list[Item], Outcome]:
    from pilothouse.cli.cluster import Cluster  # late: files need no client

    cluster = Cluster(options.kubeconfig, options.context)
    unread: list[Unread] = []
    try:
        items = [Item(tree) for tree in cluster.objects(unread, own.kinds())]
        return items, Outcome(_NOTHING, tuple(unread))
    finally:
        cluster.close()


def run_explain(name: str, folders: Sequence[str] = ()) -> int:
    """Prints what is to be said about the check of this id, or of this name in another tool."""
    checks = known_checks(read_own(folders)[0])
    found = [check for check in checks if check.id == name] or [check for check in checks if _called(check, name)]
    if not found:
        import difflib  # late: only for a name that is wrong

        names = [*(check.id for check in checks), *(other for check in checks for other in _other_names(check))]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise CommandError(f"there is no check {name}{hint}", code=2)
    typer.echo("\n".join(explanation(check) for check in found), nl=False)
    return 0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: all that is read stays, and going through it again and again doubles the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _called(check: Check, name: str) -> bool:
    return any(name.lower() == other.lower() for other in _other_names(check))


def _other_names(check: Check) -> list[str]:
    """What other tools call it."""
    names = (part.partition(":")[2] or part for part in check.other_names.split(";"))
    return [entry.strip() for part in names for entry in part.split(",")]


def _understood(options: CheckOptions, own: OwnChecks) -> tuple[Severity | None, Options]:
    if options.output not in (None, "text", *FORMATS):
        raise CommandError(f"-o {options.output}: there is text, {', '.join(FORMATS)}", code=2)
    try:
        threshold = None if options.fail_on == "none" else Severity.parse(options.fail_on)
        version = parse_version(options.version)
        Severity.parse(options.show)
    except ValueError as error:
        raise CommandError(str(error), code=2) from error
    return threshold, Options(
        version, options.namespace, read_params(options.params, own) if options.params else {}, own
    )


def read_params(file: str, own: OwnChecks) -> Mapping[str, Obj]:
    """Parameters by name of policy, from ConfigMaps named as the check they are for."""
    manifests, problems = read(file)
    known = {check.id: f"{check.id}.pilothouse.io" for check in all_checks()}
    known |= {check.id: policy for policy, check in own.by_policy.items()}
    unknown = [manifest.name for manifest in manifests if manifest.name not in known]
    if problems or unknown:
        wrong = str(problems[0]) if problems else f"{file}: there is no check {unknown[0]}"
        raise CommandError(f"--params: {wrong}", code=2)
    return {known[manifest.name]: manifest.tree for manifest in manifests}


def _baseline(file: str) -> Mapping[str, int]:
    try:
        return fingerprints(Path(file).read_text())
    except (OSError, UnicodeDecodeError, BadBaseline) as error:
        raise CommandError(f"--new-only {file}: {error}", code=2) from error


def _print(outcome: Outcome, output: str | None) -> None:
    if output in (None, "text"):
        typer.echo(text_report(outcome, _paint if sys.stdout.isatty() else plain), nl=False)
    else:
        typer.echo(FORMATS[output or ""](outcome), nl=False)
        for entry in outcome.unread:
            typer.echo(_unread(entry), err=True)


def _paint(text: str, style: str) -> str:
    if style in _COLOURS:
        return typer.style(text, fg=_COLOURS[style], bold=style == "critical")
    return typer.style(text, dim=style == "dim", bold=style == "title")


def _exit_code(outcome: Outcome, threshold: Severity | None, least_score: int) -> int:
    if outcome.incomplete:
        return 2
    found = worst(outcome.report.findings)
    failed = threshold is not None and found is not None and found >= threshold
    return 1 if failed or outcome.report.score < least_score else 0
