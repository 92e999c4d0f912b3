"""Figures, and how they are shown."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH = 200
"""Columns of a table that does not go to a terminal."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `aim` is an upper bound, or a lower one where `at_least`; None states no aim."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value < self.aim

    def tree(self) -> dict[str, Any]:
        """For programs."""
        tree = {"name": self.name, "value": round(self.value, 4), "unit": self.unit, "note": self.note}
        return tree if self.aim is None else {**tree, "aim": self.aim, "atLeast": self.at_least, "met": self.met}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """How far repeated measurements lie apart, for a note."""
    low, high = min(values), max(values)
    return f"{len(values)} runs, {low:.{digits}f} to {high:.{digits}f} {unit}"


median = statistics.median


def show(figures: Sequence[Figure]) -> None:
    """A table for a person."""
    table = Table(box=None, pad_edge=False)
    for header in ("FIGURE", "VALUE", "AIM", "", "NOTE"):
        table.add_column(header, justify="right" if header in ("VALUE", "AIM") else "left", no_wrap=header != "NOTE")
    for figure in figures:
        sign = "" if figure.aim is None else f"{'>' if figure.at_least else '<'} {figure.aim:g} {figure.unit}"
        verdict = {None: "", True: "met", False: "missed"}[figure.met]
        table.add_row(figure.name, f"{figure.value:.2f} {figure.unit}", sign, verdict, figure.note)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(table)
