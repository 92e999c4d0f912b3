"""`pilothouse check --fix`: mends findings in the files they are in, and says what it did, what it did not, and why.

A file is written whole under another name and put in place of the old one, with its mode and owner, or not at all.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from pilothouse.cli.manifests import Manifest, Problem, read_text
from pilothouse.guard.finding import RENDERED, Finding, Item
from pilothouse.guard.fix.diff import unified_diff
from pilothouse.guard.fix.mend import Done, Parsed, Refused, mend_text
from pilothouse.guard.fix.mends import NEEDS_DECISION, ORDER
from pilothouse.guard.report.text import printable


@dataclass(slots=True)
class FileMends:
    """What is done to one file: its text before and after."""

    file: str
    before: str = ""
    after: str = ""
    done: list[Done] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def plan(items: Sequence[Item], findings: Sequence[Finding]) -> list[FileMends]:
    """What would be done, by file; nothing is written."""
    of_file: dict[str, dict[int, list[Finding]]] = defaultdict(dict)
    for finding in findings:
        if finding.item >= 0 and finding.file:
            of_file[finding.file].setdefault(finding.item, []).append(finding)
    numbers: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if item.file in of_file:
            numbers[item.file].append(index)
    return [_of_file(file, found, numbers[file], items) for file, found in of_file.items()]


def write(mends: Sequence[FileMends]) -> None:
    """Writes the files that change. One that cannot be written keeps its text, and its mends are refused."""
    for mended in mends:
        if mended.after == mended.before:
            continue
        try:
            _replace(Path(mended.file), mended.after)
        except OSError as error:
            _refuse_all(mended, f"the file cannot be written: {error.strerror or error}")


def diff(mends: Sequence[FileMends]) -> str:
    """The changes as one unified diff, as `patch -p0` and `git apply -p0` take it."""
    return "".join(unified_diff(mended.before, mended.after, mended.file) for mended in mends)


def tell(mends: Sequence[FileMends], *, dry: bool, error: bool) -> None:
    """Says what was done and what not; on standard error if `error`."""
    for line in _told(mends, dry):
        typer.echo(printable(line), err=error)


def _of_file(file: str, findings: dict[int, list[Finding]], indices: list[int], items: Sequence[Item]) -> FileMends:
    mended = FileMends(file)
    mended.refused = [Refused(finding, "") for of_object in findings.values() for finding in of_object]
    reason = _untouchable(file)
    if not reason:
        try:
            mended.before = mended.after = Path(file).read_bytes().decode()
            if [entry.tree for entry in _parse(mended.before)] != [items[index].tree for index in indices]:
                raise ValueError("the file has changed since it was read")
            place = {index: number for number, index in enumerate(indices)}
            found = mend_text(mended.before, {place[index]: known for index, known in findings.items()}, _parse)
        except (OSError, ValueError) as error:
            reason = str(error)
        else:
            mended.after, mended.done, mended.refused = found.text, found.done, found.refused
    if reason:
        _refuse_all(mended, reason)
    return mended


def _refuse_all(mended: FileMends, reason: str) -> None:
    """Nothing is done in the file; of what has no mend anywhere, that is said."""
    findings = [*(entry.finding for entry in mended.done), *(entry.finding for entry in mended.refused)]
    mended.after, mended.done = mended.before, []
    mended.refused = [Refused(found, reason if found.check.id in ORDER else NEEDS_DECISION) for found in findings]


def _untouchable(file: str) -> str:
    """Why a file is not written, "" when it may be."""
    path = Path(file)
    if file.endswith(RENDERED):
        return "it is rendered: mend the template or the kustomization"
    if path.is_symlink():
        return "the file is a link: name the one it leads to"
    if not path.is_file():
        return "it is in no file that can be written"
    if path.stat().st_nlink > 1:
        return "the file has several names (hard links), which would become different files"
    return "" if os.access(path, os.W_OK) else "the file may not be written"


def _parse(text: str) -> list[Parsed]:
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    read_text("", text, manifests, problems)
    if problems:
        raise ValueError(f"not all of the file can be read: line {problems[0].line}: {problems[0].message}")
    return [Parsed(manifest.tree, manifest.node) for manifest in manifests]


def _replace(path: Path, text: str) -> None:
    known = path.stat()
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as opened:
            os.fchown(handle, known.st_uid, known.st_gid)
            os.fchmod(handle, stat.S_IMODE(known.st_mode))
            opened.write(text.encode())
            opened.flush()
            os.fsync(handle)
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def _told(mends: Sequence[FileMends], dry: bool) -> Iterator[str]:
    done = [entry for mended in mends for entry in mended.done]
    by_mend: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding, mend in done:
        by_mend[_where(finding), mend.said].append(finding.check.id)
    for (where, said), ids in by_mend.items():
        yield f"{'would mend' if dry else 'mended'}: {where}: {said}  [{', '.join(ids)}]"
    for note in dict.fromkeys(mend.note for _, mend in done if mend.note):
        yield f"  mind: {note}"
    refused = [entry for mended in mends for entry in mended.refused]
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding, reason in refused:
        if reason != NEEDS_DECISION:
            by_reason[finding.check.id, reason].append(_where(finding))
    for (check, reason), places in by_reason.items():
        yield f"not mended: {check}: {reason}"
        yield f"  {'; '.join(places)}"
    left = Counter(finding.check.id for finding, reason in refused if reason == NEEDS_DECISION)
    if left:
        named = ", ".join(f"{check} ({number})" for check, number in left.most_common())
        yield f"not mended: {left.total()} findings need a decision of yours: {named}"
    if done or refused:
        yield ""


def _where(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return f"{place} container {finding.container}" if finding.container else place
