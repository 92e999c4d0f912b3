"""Which exemption accepts a finding. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from fnmatch import fnmatchcase

from pilothouse.guard.finding import Finding
from pilothouse.guard.findings.model import home
from pilothouse.kinds.guard.exemption import APPROVED, Exemption
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import parse_timestamp
from pilothouse.machinery.selectors import from_label_selector


def expired(exemption: Exemption, now: dt.datetime) -> bool:
    """Whether its time is over; so is one whose end cannot be read."""
    try:
        return parse_timestamp(exemption.spec.expires) <= now
    except (ValueError, TypeError):
        return True


def in_force(exemption: Exemption, now: dt.datetime) -> bool:
    """Granted, and not over."""
    return exemption.status.approval == APPROVED and not expired(exemption, now)


def means(exemption: Exemption, finding: Finding, labels: Mapping[str, str]) -> bool:
    """Whether it is about this finding; `labels` are those of the finding's object. Exemptions of a namespace are about
    the findings that are kept there."""
    spec, ref = exemption.spec, finding.ref
    if exemption.namespace != home(ref):
        return False
    if "*" not in spec.rules and finding.check.id not in spec.rules:
        return False
    if spec.kinds and ref.kind not in spec.kinds:
        return False
    if spec.names and not any(fnmatchcase(ref.name, pattern) for pattern in spec.names):
        return False
    if spec.selector is None:
        return True
    return from_label_selector(to_tree(spec.selector)).matches(dict(labels))
