"""Nobody may hand out rights they do not have: checks on writes of roles and bindings.

Source: Kubernetes documentation, "Privilege escalation prevention and bootstrapping": the verbs `escalate` (on roles)
and `bind` (on the role referred to) lift the checks.
"""

from __future__ import annotations

from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.authorization.rules import Rule, of_tree, uncovered
from pilothouse.apiserver.chain import AdmissionRequest, Attributes, Authorizer
from pilothouse.client.wire import User
from pilothouse.kinds.rbac.role import GROUP
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj

_SHOWN = 5


class Escalation:
    """An admission step: `validate` raises Forbidden when a role or binding would give more than its writer has."""

    def __init__(self, index: RbacIndex, authorizer: Authorizer) -> None:
        self._index = index
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.resource.group != GROUP or request.object is None or request.subresource:
            return
        if "system:masters" in request.user.groups:
            return
        if request.resource.plural in ("roles", "clusterroles"):
            await self._check_role(request, request.object)
        else:
            await self._check_binding(request, request.object)

    async def _check_role(self, request: AdmissionRequest, role: Obj) -> None:
        old = request.old_object or {}
        if role.get("rules") == old.get("rules") and role.get("aggregationRule") == old.get("aggregationRule"):
            return
        wanted = [of_tree(rule) for rule in role.get("rules") or ()]
        if role.get("aggregationRule"):
            # What it will gather cannot be known, so whoever writes it must hold everything.
            every = frozenset({"*"})
            wanted += [Rule(every, every, every), Rule(every, urls=every)]
        if await self._may(request, "escalate", request.resource.plural, request.name):
            return
        await self._check_covered(request, wanted)

    async def _check_binding(self, request: AdmissionRequest, binding: Obj) -> None:
        old = request.old_object or {}
        if binding.get("roleRef") == old.get("roleRef") and binding.get("subjects") == old.get("subjects"):
            return
        ref = binding.get("roleRef") or {}
        plural = "roles" if ref.get("kind") == "Role" else "clusterroles"
        name = ref.get("name") or ""
        if await self._may(request, "bind", plural, name):
            return
        await self._index.catch_up()
        rules = self._index.rules((request.namespace if plural == "roles" else "", name))
        await self._check_covered(request, list(rules))

    async def _may(self, request: AdmissionRequest, verb: str, plural: str, name: str) -> bool:
        asked = Attributes(request.user, verb, "", True, GROUP, "v1", plural, "", request.namespace, name)
        return (await self._authorizer.allow(asked)).allowed

    async def _check_covered(self, request: AdmissionRequest, wanted: list[Rule]) -> None:
        await self._index.catch_up()
        missing = uncovered(self._index.rules_for(request.user, request.namespace), wanted)
        if missing:
            raise Forbidden(
                refusal(request, request.user, missing),
                group=GROUP,
                kind=request.resource.plural,
                name=request.name,
            )


def refusal(request: AdmissionRequest, user: User, missing: list[Rule]) -> str:
    """Names what the writer lacks, the first few in full."""
    lines = [f"{rule.tree()}" for rule in missing[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return (
        f'{request.resource.plural}.{GROUP} "{request.name}" is forbidden: user "{user.name}" '
        f"(groups={list(user.groups)}) is attempting to grant RBAC permissions not currently held: "
        + "; ".join(lines)
        + more
    )
