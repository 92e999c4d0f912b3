"""The three levels and how a namespace's labels choose among them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilothouse.apiserver.admission.pod_security import baseline, restricted
from pilothouse.apiserver.admission.pod_security.control import Control, Violation, subject_of
from pilothouse.machinery.objects import Obj

PRIVILEGED: Final = "privileged"
BASELINE: Final = "baseline"
RESTRICTED: Final = "restricted"
LEVELS: Final = (PRIVILEGED, BASELINE, RESTRICTED)

PREFIX: Final = "pod-security.kubernetes.io/"
MODES: Final = ("enforce", "warn", "audit")
_CONTROLS: Mapping[str, tuple[Control, ...]] = {
    PRIVILEGED: (),
    BASELINE: baseline.CONTROLS,
    RESTRICTED: (*baseline.CONTROLS, *restricted.CONTROLS),
}
_REPLACED: Mapping[Control, Control] = {
    baseline.capabilities: restricted.dropped_capabilities,
    baseline.seccomp: restricted.confined_seccomp,
}
"""Baseline controls that the restricted ones include: naming both would say the same twice."""


def violations(pod: Obj, level: str, *, conforms: str = PRIVILEGED) -> list[Violation]:
    """What in a pod (or template) breaks the level; empty when it conforms. `conforms`: a level it keeps anyway."""
    skipped = {*_CONTROLS[conforms], *(_REPLACED if level == RESTRICTED else ())}
    subject = subject_of(pod)
    found = (control(subject) for control in _CONTROLS[level] if control not in skipped)
    return [violation for violation in found if violation is not None]


def level_of(labels: Mapping[str, str], mode: str, default: str) -> str:
    """The level a namespace asks for in a mode. A label that names no level counts as restricted, as upstream."""
    level = labels.get(PREFIX + mode, default)
    return level if level in LEVELS else RESTRICTED


def allowing_level(pod: Obj) -> str:
    """The strictest level that would allow the pod."""
    return next(level for level in reversed(LEVELS) if not violations(pod, level))
