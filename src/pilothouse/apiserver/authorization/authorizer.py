"""The authorisers in order: the first that allows or denies decides."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.apiserver.chain import Attributes, Authorizer, Decision

MASTERS = "system:masters"
_MASTER = Decision(True, "the user is in the group system:masters")


class FirstAllowing:
    """Members of system:masters may do everything; others what one of the authorisers allows."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = authorizers

    async def allow(self, attributes: Attributes) -> Decision:
        if MASTERS in attributes.user.groups:
            return _MASTER
        reasons = []
        for authorizer in self._authorizers:
            decision = await authorizer.allow(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, ", ".join(reasons))
