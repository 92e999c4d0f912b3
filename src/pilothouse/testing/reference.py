"""Writes docs/reference/kinds.md from the catalogue of kinds: `python -m pilothouse.testing.reference FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pilothouse.apiserver.resource_metrics.serve import ENTRIES as METRICS
from pilothouse.apiserver.subresources import subresource
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.kind import ALL_VERBS, Kind

_HEAD = """\
# Kinds

Written by `scripts/reference` from `kinds/catalogue.py`; a test fails when it is stale.

Unless its entry says otherwise a kind has the verbs {verbs}.
*Columns* are what `kubectl get` prints, those in brackets with `-o wide` only.

| kind | apiVersion | resource | short | namespaced |
|---|---|---|---|---|
"""
_TAIL = """
## Not from the store

{metrics} are measured when asked for (`get`, `list`).
`ComponentStatus` (`get`, `list`) is made when it is asked for, a `Binding` (`create`) is a pod's by another path.
The reviews of `authentication.k8s.io` and `authorization.k8s.io` are answered when posted (`create`), and not kept.
"""


def reference(kinds: Sequence[Kind]) -> str:
    """The page as Markdown."""
    ordered = sorted(kinds, key=lambda kind: (kind.resource.group, kind.resource.kind))
    metrics = " and ".join(f"`{entry.resource.kind}`" for entry in METRICS) + f" (`{METRICS[0].resource.api_version}`)"
    return "".join(
        [
            _HEAD.format(verbs=_listed(ALL_VERBS)),
            *(_row(kind) for kind in ordered),
            *(_entry(kind) for kind in ordered),
            _TAIL.format(metrics=metrics),
        ]
    )


def _row(kind: Kind) -> str:
    found = kind.resource
    short = ", ".join(f"`{name}`" for name in kind.short_names) or "-"
    scope = "yes" if found.namespaced else "no"
    return f"| {found.kind} | `{found.api_version}` | `{found.plural}` | {short} | {scope} |\n"


def _entry(kind: Kind) -> str:
    lines = [f"\n## {kind.resource.kind}\n\n"]
    if kind.verbs != ALL_VERBS:
        lines.append(f"- Verbs: {_listed(kind.verbs)}\n")
    if kind.categories:
        lines.append(f"- Categories: {_listed(kind.categories)}\n")
    if kind.subresources:
        lines.append(f"- Subresources: {', '.join(_subresource(kind, name) for name in sorted(kind.subresources))}\n")
    columns = (column.name if column.priority == 0 else f"[{column.name}]" for column in kind.columns)
    lines.append(f"- Columns: {', '.join(columns)}\n")
    lines.append(f"- Field selectors: {_listed(kind.selectable_fields({}))}\n")
    return "".join(lines)


def _subresource(kind: Kind, name: str) -> str:
    found = subresource(kind.resource.group, kind.resource.plural, name)
    if found is None:
        raise LookupError(f"{kind.resource.plural}/{name} is in the catalogue, and no verb serves it")
    return f"`{name}` ({', '.join(sorted(found.verbs))})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(KINDS))
