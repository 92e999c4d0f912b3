"""Taints and tolerations. Source of the rules: core/v1 Toleration.ToleratesTaint."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.kinds.core.node import Taint
from pilothouse.kinds.core.pod import Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """An empty effect or key (with operator Exists) stands for all of them."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.operator in ("", "Equal") and toleration.value == taint.value


def untolerated(taints: Iterable[Taint], tolerations: list[Toleration], *effects: str) -> Taint | None:
    """The first taint of one of `effects` that no toleration covers."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None
