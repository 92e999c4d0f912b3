"""Mends a file's text: what can be mended is, the rest is told with the reason. Pure.

The new text is read again and must hold exactly the objects that were to come out; otherwise mends are tried one by
one, and those that do more than they should are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import yaml

from pilothouse.guard.finding import Finding
from pilothouse.guard.fix.changes import Change, changed
from pilothouse.guard.fix.edit import CannotPlace, carried_out, edits_of
from pilothouse.guard.fix.mends import ORDER, Mend, mend_of
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.yaml_positions import shared

_BYTE_ORDER_MARK: Final = "\ufeff"
_MOST_TRIES: Final = 200
_TWISTED: Final = "it cannot be placed there without touching something else"


class Parsed(NamedTuple):
    """An object of a text, and the node it was read from."""

    tree: Obj
    node: yaml.Node | None


Parse = Callable[[str], Sequence[Parsed]]
"""All objects of a text. Raises ValueError when not all of it can be read."""


class Done(NamedTuple):
    """A finding that was mended, and how."""

    finding: Finding
    mend: Mend


class Refused(NamedTuple):
    """A finding that was not mended, and why."""

    finding: Finding
    reason: str


@dataclass(slots=True)
class Mended:
    """A text after mending."""

    text: str
    done: list[Done] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def mend_text(text: str, findings: Mapping[int, Sequence[Finding]], parse: Parse) -> Mended:
    """Mends findings, given by the number of their object in the text. Raises ValueError when it cannot be read."""
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    body = text[len(mark) :]
    result = _together(body, findings, parse)
    if result is None:
        result = _one_by_one(body, findings, parse)
    result.text = mark + result.text
    return result


def _together(text: str, findings: Mapping[int, Sequence[Finding]], parse: Parse) -> Mended | None:
    """All at once; None when what comes out is not what should."""
    parsed = parse(text)
    several = shared(entry.node for entry in parsed if entry.node is not None)
    result = Mended(text)
    expected = [entry.tree for entry in parsed]
    edits = []
    for index, of_object in findings.items():
        node = parsed[index].node
        assert node is not None
        changes: list[Change] = []
        for finding in _ordered(of_object):
            decided = mend_of(finding, expected[index])
            if isinstance(decided, Mend):
                decided = _placeable(text, node, decided, changes, several)
            if isinstance(decided, str):
                result.refused.append(Refused(finding, decided))
                continue
            result.done.append(Done(finding, decided))
            new = [change for change in decided.changes if change not in changes]
            expected[index] = changed(expected[index], new)
            changes += new
        edits += edits_of(text, node, changes, several)
    result.text = carried_out(text, edits)
    return result if not edits or _holds(result.text, expected, parse) else None


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (ORDER.get(finding.check.id, len(ORDER)), finding.field))


def _placeable(text: str, node: yaml.Node, mend: Mend, before: Sequence[Change], several: set[int]) -> Mend | str:
    """The mend, or why it cannot be written into the text."""
    try:
        edits_of(text, node, [*before, *(change for change in mend.changes if change not in before)], several)
    except CannotPlace as error:
        return str(error)
    return mend


def _holds(text: str, expected: Sequence[Obj], parse: Parse) -> bool:
    try:
        return [entry.tree for entry in parse(text)] == list(expected)
    except ValueError:
        return False


def _one_by_one(text: str, findings: Mapping[int, Sequence[Finding]], parse: Parse) -> Mended:
    whole = Mended(text)
    tries = 0
    for index, of_object in findings.items():
        for finding in _ordered(of_object):
            tries += 1
            result = _together(whole.text, {index: [finding]}, parse) if tries <= _MOST_TRIES else None
            if result is None:
                whole.refused.append(Refused(finding, _TWISTED))
                continue
            whole.text = result.text
            whole.done += result.done
            whole.refused += result.refused
    return whole
