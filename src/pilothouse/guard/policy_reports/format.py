"""What both kinds of report objects have in common: groups, results, severities. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilothouse.guard.finding import Severity
from pilothouse.machinery.objects import Resource

POLICY_REPORTS: Final = "wgpolicyk8s.io"
OPEN_REPORTS: Final = "openreports.io"
KINDS: Final[Mapping[tuple[str, str], bool]] = {
    (POLICY_REPORTS, "PolicyReport"): True,
    (POLICY_REPORTS, "ClusterPolicyReport"): False,
    (OPEN_REPORTS, "Report"): True,
    (OPEN_REPORTS, "ClusterReport"): False,
}
"""Group and kind of report objects, and whether they live in namespaces."""
PASS, FAIL, WARN, ERROR, SKIP = "pass", "fail", "warn", "error", "skip"
RESULTS: Final = (PASS, FAIL, WARN, ERROR, SKIP)
SEVERITIES: Final[Mapping[str, Severity]] = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "info": Severity.LOW,
}
OWN_NAME: Final = "pilothouse"
"""The name of the report objects that are ours, and the `source` of their results."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"


def is_report(resource: Resource) -> bool:
    """Whether objects of a kind are reports."""
    return KINDS.get((resource.group, resource.kind)) == resource.namespaced
