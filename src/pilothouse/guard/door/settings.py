"""What a namespace wants of the guard, by its labels. Pure.

- `guard.pilothouse.dev/mode`: `enforce` (findings from the severity on are refused, the rest are warnings), `warn`
  (warnings only), `audit` (nothing but an annotation for the audit log).
- `guard.pilothouse.dev/severity`: from which severity `enforce` refuses.

Without labels: enforce from critical on; audit in the system namespaces. What is in no namespace is warned about, as no
label could allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pilothouse.guard.finding import Severity
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES

MODE: Final = "guard.pilothouse.dev/mode"
SEVERITY: Final = "guard.pilothouse.dev/severity"
ENFORCE, WARN, AUDIT = "enforce", "warn", "audit"
MODES: Final = (ENFORCE, WARN, AUDIT)
SEVERITIES: Final = tuple(str(severity) for severity in sorted(Severity, reverse=True))

POD_SECURITY: Final = "pod-security.kubernetes.io/"
LEVELS: Final = ("privileged", "baseline", "restricted")


class Settings(NamedTuple):
    """How the guard treats a namespace; `enforced` and `warned` are the Pod Security levels there."""

    mode: str = ENFORCE
    severity: Severity = Severity.CRITICAL
    enforced: str = "baseline"
    warned: str = "restricted"


def settings_of(namespace: str, labels: Mapping[str, str]) -> Settings:
    """The settings of a namespace; "" for what is in none. A label with another value counts as not set."""
    system = namespace in SYSTEM_NAMESPACES
    mode = labels.get(MODE, "")
    if mode not in MODES:
        mode = AUDIT if system else ENFORCE if namespace else WARN
    severity = labels.get(SEVERITY, "")
    least = Severity.parse(severity) if severity in SEVERITIES else Severity.CRITICAL
    enforced, warned = (labels.get(f"{POD_SECURITY}{name}", "") for name in ("enforce", "warn"))
    privileged = namespace == "kube-system"
    return Settings(
        mode,
        least,
        enforced if enforced in LEVELS else "privileged" if privileged else "baseline",
        warned if warned in LEVELS else "privileged" if privileged else "restricted",
    )


def wrong_labels(labels: Mapping[str, str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Labels of the guard with a value that means nothing: name, value, what is known."""
    known = ((MODE, MODES), (SEVERITY, SEVERITIES))
    return [(name, labels[name], values) for name, values in known if name in labels and labels[name] not in values]
