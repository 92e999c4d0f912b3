"""What existing pods break of a policy that their namespace is to enforce from now on, a line for each way. Pure."""

from __future__ import annotations

from pilothouse.apiserver.admission.pod_security.levels import Policy, violations
from pilothouse.machinery.objects import Obj


class Existing:
    """Takes pods one by one; pods that break the same controls share a line, as upstream writes it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._pods: dict[str, list[str]] = {}

    def add(self, pod: Obj) -> None:
        broken = violations(pod, self._policy)
        if broken:
            reasons = ", ".join(violation.reason for violation in broken)
            self._pods.setdefault(reasons, []).append(pod["metadata"]["name"])

    def warnings(self, namespace: str) -> list[str]:
        if not self._pods:
            return []
        title = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{self._policy}"'
        return [title, *sorted(_line(names, reasons) for reasons, names in self._pods.items())]


def _line(names: list[str], reasons: str) -> str:
    others = len(names) - 1
    if not others:
        return f"{names[0]}: {reasons}"
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''}): {reasons}"
