"""`pilothouse scan`: what is vulnerable in images, archives, folders and SBOMs, without engine or root.

Exit codes: 0 nothing at or above --fail-on; 1 something at or above it; 2 something could not be read (or the command
line is wrong), whatever else was found; 3 all was read but not all could be scanned: an unknown system, or no data.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import typer

from pilothouse.cli.errors import CommandError
from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.match.result import Result, scanned
from pilothouse.guard.images.match.severity import RATINGS
from pilothouse.guard.images.match.vex import BadVex, Statement, Statements, statements_in
from pilothouse.guard.images.model import Layer, NotReadable
from pilothouse.guard.images.others.entries import together
from pilothouse.guard.images.others.report import result_in
from pilothouse.guard.images.others.run import TOOLS, ask, installed
from pilothouse.guard.images.places import data_file, data_folder, layer_file
from pilothouse.guard.images.report import FORMATS
from pilothouse.guard.images.report.base import Newer, newer_of
from pilothouse.guard.images.report.document import (
    BadBaseline,
    ScanOutcome,
    Subject,
    fingerprints,
    new_only,
    subject_of,
)
from pilothouse.guard.images.report.text import plain, text_report
from pilothouse.guard.images.scan.beside import Asked
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.scan.targets import Inventories
from pilothouse.guard.images.signed.keys import BadKey, public_key
from pilothouse.guard.images.source.image import host_platform

_OLD_DAYS = 7.0
_ATTACHED = "attached"
_COLOURS = {
    "critical": typer.colors.BRIGHT_RED,
    "high": typer.colors.RED,
    "medium": typer.colors.YELLOW,
    "unknown": typer.colors.MAGENTA,
    "low": typer.colors.BLUE,
}


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The command line."""

    output: str | None = None
    fail_on: str = "high"
    only_fixed: bool = False
    new_only: str | None = None
    platform: str | None = None
    plain_http: tuple[str, ...] = ()
    vex: tuple[str, ...] = ()
    sbom: tuple[str, ...] = ()
    verify_keys: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    """Files that other scanners wrote."""
    tools: tuple[str, ...] = ()
    base: str | None = None
    data_dir: str = ""


def run_scan(targets: list[str], options: ScanOptions) -> int:
    """Scans and prints; the exit code."""
    if options.output not in (None, "text", *FORMATS):
        raise CommandError(f"-o {options.output}: there is text, {', '.join(FORMATS)}", code=2)
    if options.fail_on != "none" and options.fail_on not in RATINGS:
        raise CommandError(f"--fail-on {options.fail_on}: there is none, {', '.join(reversed(RATINGS))}", code=2)
    if not targets and not options.reports:
        raise CommandError("name images, archives, folders or SBOMs to scan", code=2)
    for tool in options.tools:
        if tool not in TOOLS:
            raise CommandError(f"--with {tool}: there is {', '.join(TOOLS)}", code=2)
        if not installed(tool):
            raise CommandError(f"--with {tool}: {tool} is not installed (it is not on PATH)", code=2)
    known = _baseline(options.new_only) if options.new_only else None
    outcome = _scanned(targets, options, _statements(options.vex), _asked(options))
    if known is not None:
        outcome = new_only(outcome, known)
    _print(outcome, options.output)
    return _exit_code(outcome, options.fail_on)


def _baseline(file: str) -> frozenset[str]:
    try:
        return fingerprints(Path(file).read_text())
    except (OSError, UnicodeDecodeError, BadBaseline) as error:
        raise CommandError(f"--new-only {file}: {error}", code=2) from error


def _asked(options: ScanOptions) -> Asked:
    keys = []
    for file in options.verify_keys:
        try:
            keys.append(public_key(Path(file).read_bytes(), Path(file).name))
        except (OSError, BadKey) as error:
            raise CommandError(f"--verify-key {file}: {_reason(error)}", code=2) from error
    if _ATTACHED in options.vex and not keys:
        raise CommandError(
            "--vex attached: whoever may write to the repository may attach anything: name a key that vouches for it"
            " (--verify-key)",
            code=2,
        )
    return Asked(tuple(keys), _ATTACHED in options.sbom, _ATTACHED in options.vex)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _statements(files: tuple[str, ...]) -> list[Statement]:
    found: list[Statement] = []
    for file in files:
        if file == _ATTACHED:
            continue
        try:
            found += statements_in(Path(file).read_bytes(), file)
        except (OSError, BadVex) as error:
            raise CommandError(f"--vex {file}: {_reason(error)}", code=2) from error
    return found


def _scanned(targets: list[str], options: ScanOptions, vex: list[Statement], asked: Asked) -> ScanOutcome:
    subjects: list[Subject] = []
    unread: list[tuple[str, str]] = []
    show = _Progress(sys.stderr.isatty())
    try:
        base = Base(data_file(data_folder(options.data_dir)))
    except NotReadable as error:
        raise CommandError(str(error), code=2) from error
    cache = LayerCache(layer_file())
    with LayerReader() as reader:
        inventories = Inventories(reader, cache, options.platform or host_platform(), options.plain_http)
        inventories.progress = show.layer
        inventories.asked = asked
        inventories.sboms = [Path(file) for file in options.sbom if file != _ATTACHED]
        newer = _newer(base, inventories, options.base, unread) if options.base is not None else None
        for target in targets:
            show.target = target
            try:
                for inventory in inventories.of(target):
                    said = Statements([*vex, *inventories.statements])
                    result = _with_others(scanned(base, inventory), target, options.tools, base)
                    shown = subject_of(result, only_fixed=options.only_fixed, vex=said, now=time.time(), newer=newer)
                    subjects.append(shown)
            except (NotReadable, OSError) as error:
                unread.append((target, str(error).removeprefix(f"{target}: ")))
            show.clear()
    for file in options.reports:
        try:
            told = result_in(Path(file), base.risk)
            subjects.append(subject_of(told, only_fixed=options.only_fixed, vex=Statements(vex)))
        except (NotReadable, OSError) as error:
            unread.append((file, _reason(error).removeprefix(f"{file}: ")))
    outcome = ScanOutcome(tuple(subjects), tuple(unread), data_age(base) if targets else "")
    base.close()
    cache.close()
    return outcome


def _with_others(result: Result, target: str, tools: tuple[str, ...], base: Base) -> Result:
    """With what other scanners find in the same target. Raises NotReadable, OSError."""
    for tool in tools:
        theirs = ask(tool, target, base.risk)
        flaws = together(result.flaws, theirs.flaws)
        reasons = (*result.not_scanned, *(f"{tool}: {reason}" for reason in theirs.not_scanned))
        note = f"{tool}: {len(theirs.flaws)} vulnerabilities, {len(flaws) - len(result.flaws)} that we did not find"
        inventory = msgspec.structs.replace(result.inventory, notes=(*result.inventory.notes, note))
        result = Result(inventory, flaws, reasons)
    return result


def _newer(base: Base, inventories: Inventories, target: str, unread: list[tuple[str, str]]) -> Newer | None:
    """The base that `--base` names, scanned; None, and a reason in `unread`, when that cannot be."""
    plain = replace(inventories, asked=Asked(), sboms=[])  # signatures and SBOMs are asked of the image alone
    try:
        result = scanned(base, next(iter(plain.of(target))))
        if not result.complete:
            raise NotReadable(f"not scanned: {result.not_scanned[0]}")
    except (NotReadable, OSError) as error:
        unread.append((f"--base {target}", str(error).removeprefix(f"{target}: ")))
        return None
    return newer_of(target, result)


def data_age(base: Base) -> str:
    """How old the data is, in a sentence; what is older than a week is said so."""
    feeds = [feed for feed in base.feeds() if feed.updated]
    if not feeds:
        return "There is no vulnerability data: pilothouse vulndb update"
    checked = max(feed.checked for feed in feeds)
    day = dt.datetime.fromtimestamp(checked, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    failed = [feed.name for feed in feeds if feed.error]
    text = f"Data of {day}"
    if time.time() - checked > _OLD_DAYS * 86400:
        text += f", which is more than {_OLD_DAYS:.0f} days old: pilothouse vulndb update"
    if failed:
        text += f"; not brought up to date: {', '.join(failed[:3])}{' …' if len(failed) > 3 else ''}"
    return text + "."


class _Progress:
    """One line on a terminal that says which layer is read and how far; nothing elsewhere."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._last = 0.0
        self.target = ""

    def layer(self, layer: Layer, done: int, number: int) -> None:
        """Called as bytes arrive."""
        now = time.monotonic()
        if not self._shown or now - self._last < 0.1:
            return
        self._last = now
        size = f"of {layer.size / 1e6:.0f} MB" if layer.size else "MB"
        how = f"{done / 1e6:.0f} {size}" if done >= 0 else "known"
        typer.echo(f"\r\x1b[K{self.target[:60]}: layer {number}: {how}", nl=False, err=True)

    def clear(self) -> None:
        """Takes the line away."""
        if self._shown:
            typer.echo("\r\x1b[K", nl=False, err=True)


def _print(outcome: ScanOutcome, output: str | None) -> None:
    if output in (None, "text"):
        typer.echo(text_report(outcome, _paint if sys.stdout.isatty() else plain), nl=False)
        return
    write: Callable[[ScanOutcome], str] = FORMATS[output or ""]
    typer.echo(write(outcome), nl=False)
    for name, reason in outcome.unread:
        typer.echo(f"not read: {name}: {reason}", err=True)
    for subject in outcome.subjects:
        for reason in subject.result.not_scanned:
            typer.echo(f"not scanned: {subject.name}: {reason}", err=True)


def _paint(text: str, style: str) -> str:
    if style in _COLOURS:
        return typer.style(text, fg=_COLOURS[style], bold=style == "critical")
    return typer.style(text, dim=style == "dim", bold=style == "title")


def _exit_code(outcome: ScanOutcome, fail_on: str) -> int:
    if outcome.unread:
        return 2
    if fail_on != "none" and outcome.reaches(fail_on):
        return 1
    return 3 if outcome.not_scanned else 0
