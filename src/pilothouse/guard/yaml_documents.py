"""Objects as YAML that people can read and edit: long texts folded, texts of several lines as they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import yaml

from pilothouse.machinery.objects import Obj

_WIDTH: Final = 120
_LONG: Final = 70


class _Dumper(yaml.CSafeDumper):
    """No anchors, which kubectl reads and people do not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else ">" if len(value) > _LONG else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_documents(trees: Iterable[Obj]) -> str:
    """Each tree as a document, in its own order of fields."""
    dumped = yaml.dump_all(
        list(trees), Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True, explicit_start=True
    )
    return str(dumped)
