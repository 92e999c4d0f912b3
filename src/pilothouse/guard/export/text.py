"""An export as YAML that people can read and edit. Pure."""

from __future__ import annotations

from typing import Final

from pilothouse import __version__
from pilothouse.guard.door.settings import AUDIT, ENFORCE
from pilothouse.guard.export.actions import Defaults
from pilothouse.guard.export.export import Choices, Export
from pilothouse.guard.yaml_documents import yaml_documents
from pilothouse.machinery.objects import Obj

MARK: Final = "# Written by pilothouse check --export"
"""How a file starts that may be replaced by a later export."""


def files(export: Export, choices: Choices) -> dict[str, str]:
    """The text of each file by its name: one a check, so that a single one can be left out."""
    head = f"{MARK} ({__version__}); {described(choices.defaults)}.\n"
    return {f"{entry.check.id}.yaml": head + yaml_documents(entry.objects) for entry in export.exported}


def stream(export: Export, choices: Choices) -> str:
    """All of it as one text; a Namespace that several checks need is there once."""
    found: dict[tuple[str, str], Obj] = {}
    for entry in export.exported:
        for tree in entry.objects:
            found.setdefault((tree["kind"], tree["metadata"]["name"]), tree)
    return f"{MARK} ({__version__}); {described(choices.defaults)}.\n" + yaml_documents(found.values())


def described(defaults: Defaults) -> str:
    """The choices, in words."""
    refusing = f" from {defaults.severity} on" if defaults.mode == ENFORCE else ""
    warning = f", warnings from {defaults.warned} on" if defaults.mode != AUDIT else ""
    without = f", without {', '.join(sorted(defaults.excluded))}" if defaults.excluded else ""
    return f"{defaults.mode}{refusing}{warning}{without}"
