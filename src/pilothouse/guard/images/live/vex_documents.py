"""VEX documents of the cluster: ConfigMaps in kube-system with a label, a document a key. Pure.

What they silence counts everywhere, so whoever may write them may accept findings for all; that is why no other
namespace's ConfigMaps are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.images.match.vex import BadVex, Statement, Statements, statements_in
from pilothouse.kinds.core.config_map import ConfigMap

LABEL: Final = "images.guard.pilothouse.dev/vex"
NAMESPACE: Final = "kube-system"
SUBJECT: Final = "vex"
BROKEN: Final = Check(
    "vex-document-broken",
    "VEX document cannot be read",
    Severity.MEDIUM,
    "hygiene",
    "What it says of flaws counts for nothing: they stay open.",
    "# mend it (OpenVEX 0.2.0); try it first: pilothouse scan IMAGE --vex FILE",
)


def documents(maps: Iterable[ConfigMap]) -> tuple[Statements, list[Found]]:
    """What all of them say, and a finding for each that cannot be read."""
    statements: list[Statement] = []
    broken: list[Found] = []
    for found in sorted(maps, key=lambda found: found.name):
        for key, text in sorted(found.data.items()):
            try:
                statements += statements_in(text.encode(), f"ConfigMap {found.namespace}/{found.name}")
            except BadVex as error:
                ref = Ref("v1", "ConfigMap", found.namespace, found.name)
                broken.append(Found(Finding(BROKEN, ref, f"{key}: {error}", "", f"data[{key}]")))
    return Statements(statements), broken


def broken_report(source: str, broken: Iterable[Found]) -> Report:
    """All that is wrong with the documents now."""
    return Report(source, SUBJECT, tuple(broken))
