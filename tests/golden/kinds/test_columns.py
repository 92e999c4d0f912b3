"""Tables of every kind, as `kubectl get -o wide` prints them, held against `objects.txt`.

After an intended change, set `UPDATE_GOLDEN=1`, run again and review the difference.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from pilothouse.kinds import columns
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj

HERE = Path(__file__).parent
GOLDEN = HERE / "objects.txt"
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(kind: Kind, objects: list[Obj]) -> str:
    rows = [[column.name.upper() for column in kind.columns]]
    rows += [[_text(column.value(obj)) for column in kind.columns] for obj in objects]
    widths = [max(len(row[index]) for row in rows) for index in range(len(kind.columns))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([f"# {kind.resource.plural}", *lines])


def test_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "now", lambda: NOW)
    objects: dict[str, list[Obj]] = defaultdict(list)
    for tree in yaml.safe_load_all((HERE / "objects.yaml").read_text()):
        if tree is not None:
            objects[tree["kind"]].append(tree)
    kept = [kind for kind in KINDS if kind.stored_as is None]
    tables = [_table(kind, found) for kind in kept if (found := objects[kind.resource.kind])]
    text = "\n\n".join(tables) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
