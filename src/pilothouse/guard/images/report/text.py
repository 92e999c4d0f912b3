"""The report people read: what is worst first; what was not scanned before all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.report.document import ScanOutcome, Subject

Paint = Callable[[str, str], str]
"""Colours a text by the name of a style: a rating, `dim` or `title`."""

_HEAD: Final = ("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "EPSS", "LAYER")
_SILENCED: Final = 10
_WIDEST: Final = (10, 22, 38, 30, 34, 6, 5)


def plain(text: str, style: str) -> str:
    """No colours."""
    return text


def text_report(outcome: ScanOutcome, paint: Paint = plain) -> str:
    """The report as lines of text."""
    lines: list[str] = []
    for subject in outcome.subjects:
        lines += [*_subject(subject, paint), ""]
    lines += [paint(_clean(f"not read: {name}: {reason}"), "high") for name, reason in outcome.unread]
    lines.append(_summary(outcome))
    return "\n".join(lines) + "\n"


def _subject(subject: Subject, paint: Paint) -> list[str]:
    inventory = subject.result.inventory
    about = [str(inventory.system)] if inventory.system else []
    about.append(f"{len(inventory.packages)} packages")
    if inventory.layers:
        about.append(f"{len(inventory.layers)} layers")
    lines = [paint(_clean(inventory.name), "title") + paint(_clean(f"  {', '.join(about)}"), "dim")]
    lines += [paint(_clean(f"  {note}"), "dim") for note in inventory.notes]
    if subject.base is not None:
        lines.append(paint(_clean(f"  {subject.base.sentence()}"), "dim"))
    lines += [paint(_clean(f"  not scanned: {reason}"), "high") for reason in subject.result.not_scanned]
    shown = [flaw for flaw in subject.flaws if flaw.severity != "negligible"]
    if shown:
        lines += _table([_row(flaw) for flaw in shown], paint)
    hidden = len(subject.flaws) - len(shown)
    if hidden:
        lines.append(paint(f"  and {hidden} negligible (-o json shows them)", "dim"))
    for flaw, said in subject.silenced[:_SILENCED]:
        lines.append(paint(_clean(f"  silenced: {flaw.id} in {flaw.package} {flaw.version}: {said}"), "dim"))
    if len(subject.silenced) > _SILENCED:
        lines.append(paint(f"  and {len(subject.silenced) - _SILENCED} more silenced (-o json shows them)", "dim"))
    for entry in subject.weaknesses:
        layer = f" (layer {entry.layer})" if entry.layer >= 0 else ""
        rating = str(entry.check.severity)
        text = _clean(f"{entry.message}{layer}  [{entry.check.id}]")
        lines.append(f"  {paint(f'{rating:<{_WIDEST[0]}}', rating)}{text}")
    if not subject.flaws and not subject.weaknesses and subject.result.complete:
        lines.append("  nothing found")
    return lines


def _row(flaw: Flaw) -> tuple[str, ...]:
    packages = ", ".join(flaw.packages) if flaw.packages else flaw.package
    epss = f"{flaw.epss:.1%}" if flaw.epss is not None else ""
    layer = ",".join(str(layer) for layer in flaw.layers)
    ident = f"{flaw.id} KEV" if flaw.kev else flaw.id
    return flaw.severity, ident, packages, flaw.version, flaw.fixed or flaw.reason or flaw.state, epss, layer


def _table(rows: list[tuple[str, ...]], paint: Paint) -> list[str]:
    cells = [tuple(_short(_clean(cell), widest) for cell, widest in zip(row, _WIDEST)) for row in (_HEAD, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    widths[0] = _WIDEST[0] - 2
    lines = []
    for number, row in enumerate(cells):
        padded = [f"{cell:<{width}}" for cell, width in zip(row, widths)]
        first = paint(padded[0], row[0] if number else "dim")
        rest = "  ".join(padded[1:]).rstrip()
        lines.append(f"  {first}  {rest if number else paint(rest, 'dim')}")
    return lines


def _short(text: str, widest: int) -> str:
    return text if len(text) <= widest else text[: widest - 1] + "…"


def _clean(text: str) -> str:
    """On one line and without control characters, which an image could send to the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _summary(outcome: ScanOutcome) -> str:
    counts = ", ".join(f"{number} {rating}" for rating, number in outcome.counts().items() if number) or "nothing found"
    known = sum(subject.known for subject in outcome.subjects)
    fixable = sum(bool(flaw.fixed) for subject in outcome.subjects for flaw in subject.flaws)
    parts = [f"{len(outcome.subjects)} scanned: {counts}"]
    if fixable:
        parts.append(f"{fixable} with a fix")
    if known:
        parts.append(f"{known} known before, not shown")
    silenced = sum(len(subject.silenced) for subject in outcome.subjects)
    if silenced:
        parts.append(f"{silenced} silenced by VEX")
    if outcome.not_scanned or outcome.unread:
        parts.append("not everything could be scanned")
    return "; ".join(parts) + (f". {outcome.data}" if outcome.data else ".")
