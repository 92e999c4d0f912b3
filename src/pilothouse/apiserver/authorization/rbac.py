"""Role-based access control."""

from __future__ import annotations

from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import Attributes, Decision

_DENIED = Decision(False)


class RbacAuthorizer:
    """Allows what a rule of a role bound to the user, or to one of the groups, allows."""

    def __init__(self, index: RbacIndex) -> None:
        self._index = index

    async def allow(self, attributes: Attributes) -> Decision:
        index = self._index
        await index.catch_up()
        for grant in index.grants(attributes.user):
            if grant.namespace and (grant.namespace != attributes.namespace or not attributes.is_resource):
                continue
            for rule in index.rules(grant.role):
                if rule.allows(attributes):
                    kind = "RoleBinding" if grant.namespace else "ClusterRoleBinding"
                    return Decision(True, f'RBAC: allowed by {kind} "{grant.binding.lstrip("/")}"')
        return _DENIED
