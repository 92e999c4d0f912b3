"""What a node may do that no role gives it: the node authoriser's rights, in words. Pure.

Source: Kubernetes documentation, "Using Node Authorization". A test holds it equal to this engine's authoriser.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pilothouse.guard.access.rights import Asked, Subject
from pilothouse.kinds.rbac.role import PolicyRule

GROUP: Final = "system:nodes"
PREFIX: Final = "system:node:"
BY: Final = "the node authoriser"
_READ: Final = "get list watch"


class NodeRight(NamedTuple):
    """Verbs on a resource (with its subresource), and which objects."""

    verbs: str
    group: str
    resource: str
    which: str = "all"


_OF_ITS_PODS: Final = "those its pods name"
_ITSELF: Final = "its own"
NODE_RIGHTS: Final = (
    NodeRight(_READ, "", "services"),
    NodeRight(_READ, "discovery.k8s.io", "endpointslices"),
    NodeRight(_READ, "networking.k8s.io", "networkpolicies"),
    NodeRight(_READ, "node.k8s.io", "runtimeclasses"),
    NodeRight(_READ, "", "namespaces"),
    NodeRight(_READ, "", "nodes"),
    NodeRight("create update patch", "", "nodes", _ITSELF),
    NodeRight("create get update patch", "", "nodes/status", _ITSELF),
    NodeRight(_READ, "", "pods"),
    NodeRight("create", "", "pods", "mirrors of its static ones"),
    NodeRight("delete", "", "pods", "those bound to it"),
    NodeRight("get update patch", "", "pods/status", "those bound to it"),
    NodeRight("create", "", "pods/eviction", "those bound to it"),
    NodeRight(_READ, "", "secrets", "those its pods and their volumes name"),
    NodeRight(_READ, "", "configmaps", _OF_ITS_PODS),
    NodeRight("get", "", "persistentvolumeclaims", _OF_ITS_PODS),
    NodeRight("get update patch", "", "persistentvolumeclaims/status", _OF_ITS_PODS),
    NodeRight("create", "", "serviceaccounts/token", "for its pods"),
    NodeRight("list watch", "", "persistentvolumes"),
    NodeRight("get update patch", "", "persistentvolumes", "those that live on it"),
    NodeRight("create patch update", "", "events"),
    NodeRight("create patch update", "events.k8s.io", "events"),
    NodeRight(f"{_READ} create", "certificates.k8s.io", "certificatesigningrequests"),
    NodeRight("create", "authentication.k8s.io", "tokenreviews"),
    NodeRight("create", "authorization.k8s.io", "subjectaccessreviews"),
    NodeRight("create get update patch delete", "coordination.k8s.io", "leases", _ITSELF),
    NodeRight(_READ, "storage.k8s.io", "csidrivers"),
    NodeRight("create get update patch delete", "storage.k8s.io", "csinodes", _ITSELF),
    NodeRight("get", "storage.k8s.io", "volumeattachments", "those to it"),
)


def node_of(subject: Subject) -> str:
    """The node a subject is, "" for anybody else."""
    return subject.name.removeprefix(PREFIX) if subject.kind == "User" and subject.name.startswith(PREFIX) else ""


def of_nodes(asked: Asked) -> str:
    """Which objects nodes may do that with, "" when they may not."""
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    fitting = (right for right in NODE_RIGHTS if (right.group, right.resource) == (asked.group, wanted))
    return next((right.which for right in fitting if not asked.path and asked.verb in right.verbs.split()), "")


def rules_of_nodes() -> Iterator[tuple[PolicyRule, str]]:
    """A node's rights as rules, each with the objects they are about."""
    for verbs, group, resource, which in NODE_RIGHTS:
        yield PolicyRule(verbs=verbs.split(), api_groups=[group], resources=[resource]), which
