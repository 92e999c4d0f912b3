"""A unified diff of a text and its mended form. Pure.

Mends only add lines and change single ones, so both texts are walked once; a general comparison takes minutes for a
file of thousands of objects that are alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""As `patch` counts lines."""
_AROUND: Final = 3
_AHEAD: Final = 64
"""Lines that are looked through for where an addition ends."""

_Opcode = tuple[str, int, int, int, int]


def unified_diff(before: str, after: str, name: str) -> str:
    """The changes as `patch -p0` and `git apply -p0` take them, "" for none."""
    if before == after:
        return ""
    old, new = _LINE.findall(before), _LINE.findall(after)
    hunks = [line for group in _grouped(list(_opcodes(old, new))) for line in _hunk(group, old, new)]
    ended = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in hunks)
    return f"--- {name}\n+++ {name}\n" + "".join(ended)


def _grouped(opcodes: Sequence[_Opcode]) -> Iterator[list[_Opcode]]:
    """Changes that are near one another, with three lines around."""
    group: list[_Opcode] = []
    for what, i1, i2, j1, j2 in opcodes:
        if what != "equal":
            group.append((what, i1, i2, j1, j2))
            continue
        if group and i2 - i1 > 2 * _AROUND:
            yield [*group, (what, i1, i1 + _AROUND, j1, j1 + _AROUND)]
            group = []
        kept = 0 if group else max(i2 - i1 - _AROUND, 0)
        group.append((what, i1 + kept, i2, j1 + kept, j2))
    if len(group) > 1 or (group and group[0][0] != "equal"):
        what, i1, i2, j1, j2 = group[-1]
        shown = min(i2 - i1, _AROUND) if what == "equal" else i2 - i1
        yield [*group[:-1], (what, i1, i1 + shown, j1, j1 + shown if what == "equal" else j2)]


def _opcodes(old: Sequence[str], new: Sequence[str]) -> Iterator[_Opcode]:
    i = j = 0
    while i < len(old) or j < len(new):
        begun = i, j
        while i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        if (i, j) > begun:
            yield "equal", begun[0], i, begun[1], j
        if i == len(old) and j == len(new):
            return
        added = _added(old, new, i, j)
        if added:
            yield "insert", i, i, j, j + added
            j += added
        else:
            gone, come = min(1, len(old) - i), min(1, len(new) - j)
            yield "replace" if gone and come else "delete", i, i + gone, j, j + come
            i, j = i + gone, j + come


def _added(old: Sequence[str], new: Sequence[str], i: int, j: int) -> int:
    """How many lines were added before line `i`; 0 when it was changed."""
    if i == len(old):
        return len(new) - j
    if old[i + 1 : i + 2] == new[j + 1 : j + 2] and i + 1 < len(old):
        return 0
    return next((found - j for found in range(j + 1, min(j + _AHEAD, len(new))) if new[found] == old[i]), 0)


def _hunk(group: Sequence[_Opcode], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    first, last = group[0], group[-1]
    yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
    for what, i1, i2, j1, j2 in group:
        if what == "equal":
            yield from (f" {line}" for line in old[i1:i2])
            continue
        yield from (f"-{line}" for line in old[i1:i2])
        yield from (f"+{line}" for line in new[j1:j2])


def _range(start: int, stop: int) -> str:
    """Line and length as unified diffs write them."""
    length = stop - start
    return f"{start + 1}" if length == 1 else f"{start + 1 if length else start},{length}"
