"""What has happened on this node since its process began."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Counted where it happens."""

    started_pods: int = 0
    started_containers: int = 0
    failed_containers: int = 0
    """Starts that came to nothing."""
    evictions: Counter[str] = field(default_factory=Counter)
    """By the signal that ran short; "" for pods over limits of their own."""
    probes: Counter[tuple[str, str, str, str, str, str]] = field(default_factory=Counter)
    """By probe, result, namespace, pod, uid, container."""

    def forget(self, uid: str) -> None:
        """Drops what was counted of a pod that is gone."""
        for key in [key for key in self.probes if key[4] == uid]:
            del self.probes[key]
