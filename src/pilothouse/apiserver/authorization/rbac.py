"""Role-based access control."""

from __future__ import annotations

from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import Attributes, Decision

_DENIED = Decision(False)
_REMEMBERED = 4096
_LONGEST_NAME = 256
"""Characters; what is asked about longer names and paths is not remembered."""


class RbacAuthorizer:
    """Allows what a rule of a role bound to the user, or to one of the groups, allows."""

    def __init__(self, index: RbacIndex) -> None:
        self._index = index
        self._version = -1
        self._allowed: dict[tuple[object, ...], Decision] = {}
        """What was allowed under this version of the index, by everything that rules look at."""

    async def allow(self, attributes: Attributes) -> Decision:
        index = self._index
        await index.catch_up()
        if index.version != self._version or len(self._allowed) >= _REMEMBERED:
            self._allowed.clear()
            self._version = index.version
        user, verb, path, is_resource, group, _, resource, subresource, namespace, name = attributes
        about = (group, resource, subresource, namespace, name) if is_resource else path
        key = (user.name, user.groups, verb, about)
        decision = self._allowed.get(key)
        if decision is None:
            decision = self._decide(attributes)
            if decision.allowed and len(name if is_resource else path) <= _LONGEST_NAME:
                self._allowed[key] = decision
        return decision

    def _decide(self, attributes: Attributes) -> Decision:
        index = self._index
        for grant in index.grants(attributes.user):
            if grant.namespace and (grant.namespace != attributes.namespace or not attributes.is_resource):
                continue
            for rule in index.rules(grant.role):
                if rule.allows(attributes):
                    kind = "RoleBinding" if grant.namespace else "ClusterRoleBinding"
                    return Decision(True, f'RBAC: allowed by {kind} "{grant.binding.lstrip("/")}"')
        return _DENIED
