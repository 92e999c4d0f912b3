"""The three levels, by version, and how a namespace's labels choose among them. Pure.

Source: Kubernetes documentation, "Pod Security Admission".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pilothouse.apiserver.admission.pod_security import baseline, restricted
from pilothouse.apiserver.admission.pod_security.control import Check, Control, Violation, subject_of
from pilothouse.apiserver.version import KUBERNETES
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.remembered import Remembered, fingerprint

PRIVILEGED: Final = "privileged"
BASELINE: Final = "baseline"
RESTRICTED: Final = "restricted"
LEVELS: Final = (PRIVILEGED, BASELINE, RESTRICTED)

PREFIX: Final = "pod-security.kubernetes.io/"
MODES: Final = ("enforce", "warn", "audit")
LATEST: Final = "latest"
_SERVED: Final = int(KUBERNETES.split(".")[1])
_VERSION: Final = re.compile(r"v1\.(0|[1-9][0-9]{0,8})")
_CONTROLS: Final[Mapping[str, tuple[Control, ...]]] = {
    PRIVILEGED: (),
    BASELINE: baseline.CONTROLS,
    RESTRICTED: (*baseline.CONTROLS, *restricted.CONTROLS),
}


class Policy(NamedTuple):
    """A level as of a version: `latest`, or `v1.N`; a version newer than the one served is the latest."""

    level: str
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        return _SERVED if self.version == LATEST else min(int(self.version.removeprefix("v1.")), _SERVED)


ANYTHING: Final = Policy(PRIVILEGED)
_JUDGED: Final[Remembered[tuple[Violation, ...]]] = Remembered(512)


def violations(pod: Obj, policy: Policy, *, conforms: Policy = ANYTHING) -> list[Violation]:
    """What in a pod (or template) breaks the policy; empty when it conforms. `conforms`: one that it keeps anyway."""
    checks = _checks(policy.level, policy.minor)
    if not checks:
        return []
    annotations = (pod.get("metadata") or {}).get("annotations")
    key = fingerprint(pod.get("spec"), annotations, *policy, *conforms)
    judged = _JUDGED.get(key)
    if judged is None:
        kept = _checks(conforms.level, conforms.minor)
        subject = subject_of(pod)
        found = (check(subject) for check in checks if check not in kept)
        judged = tuple(violation for violation in found if violation is not None)
        _JUDGED.put(key, judged)
    return list(judged)


def policy_of(labels: Mapping[str, str], mode: str, default: str) -> Policy:
    """What a namespace asks for in a mode. A label that names no level counts as restricted, one that names no version
    as the latest, as upstream."""
    level = labels.get(PREFIX + mode, default)
    version = labels.get(f"{PREFIX}{mode}-version", LATEST)
    return Policy(level if level in LEVELS else RESTRICTED, version if is_version(version) else LATEST)


def is_version(text: str) -> bool:
    """Whether it is `latest` or `v1.N`."""
    return text == LATEST or _VERSION.fullmatch(text) is not None


def allowing_level(pod: Obj, version: str = LATEST) -> str:
    """The strictest level that would allow the pod."""
    return next(level for level in reversed(LEVELS) if not violations(pod, Policy(level, version)))


@functools.lru_cache(maxsize=3 * (_SERVED + 1))
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    in_force = [(control, check) for control in _CONTROLS[level] if (check := control.at(minor)) is not None]
    replaced = {control.replaces for control, _ in in_force}
    return tuple(check for control, check in in_force if control not in replaced)
