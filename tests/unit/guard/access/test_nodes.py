"""What nodes may do is what the node authoriser lets them."""

from __future__ import annotations

import itertools

from pilothouse.apiserver.authorization.node import NodeAuthorizer
from pilothouse.apiserver.authorization.node_graph import NodeGraph, Reference
from pilothouse.apiserver.chain import Attributes, ObjectReader
from pilothouse.client.wire import User
from pilothouse.guard.access.nodes import NODE_RIGHTS, of_nodes
from pilothouse.guard.access.rights import Asked
from pilothouse.kinds.catalogue import KINDS
from pilothouse.machinery.objects import Obj, Resource

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


class AllRelated(NodeGraph):
    """Every object is named by a pod on the node, and every pod is bound to it."""

    def __init__(self) -> None:
        pass

    async def catch_up(self) -> None:
        return None

    def mounts_with(self, node: str, secret: Reference) -> bool:
        return True

    def needs(self, node: str, reference: Reference) -> bool:
        return True

    def node_of(self, pod: str) -> str:
        return "n1"


class Volumes(ObjectReader):
    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [here]}]}
        claim = {"namespace": "shop", "name": "data"}
        return {"spec": {"nodeName": "n1", "claimRef": claim, "nodeAffinity": {"required": terms}}}


async def test_rights_are_the_authorisers() -> None:
    authorizer = NodeAuthorizer(AllRelated(), Volumes())
    user = User("system:node:n1", ("system:nodes",))
    places = {(kind.resource.group, kind.resource.plural, sub) for kind in KINDS for sub in ("", *kind.subresources)}
    places |= {(group, *resource.partition("/")[::2]) for _, group, resource, _ in NODE_RIGHTS}
    for (group, plural, sub), verb in itertools.product(sorted(places), VERBS):
        namespace = "kube-node-lease" if plural == "leases" else "shop"
        name = "" if verb == "create" and not sub else "n1"
        asked = Attributes(user, verb, "", True, group, "v1", plural, sub, namespace, name)
        decision = await authorizer.allow(asked)
        said = of_nodes(Asked(verb, group, plural, sub, namespace, name))
        assert bool(said) == decision.allowed, (verb, group, plural, sub)
