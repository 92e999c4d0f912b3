"""What a node may do: read what its pods name, and speak for itself and for them.

Source: Kubernetes documentation, "Using Node Authorization". Stricter than upstream in that PersistentVolumes may be
changed (to let go of a directory) only by the node they live on; wider in that services, endpoint slices, policies,
namespaces and other nodes and pods may be listed, since here the node's own program makes the network's rules.
"""

from __future__ import annotations

from pilothouse.apiserver.authorization.node_graph import NodeGraph, Reference
from pilothouse.apiserver.chain import Attributes, Decision, ObjectReader
from pilothouse.client.wire import User
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.objects import Obj

NODES = "system:nodes"
_PREFIX = "system:node:"
LEASE_NAMESPACE = "kube-node-lease"
HOSTNAME = "kubernetes.io/hostname"

_READ = frozenset({"get", "list", "watch"})
_CHANGE = frozenset({"update", "patch"})
_ALWAYS: dict[tuple[str, str, str], frozenset[str]] = {
    ("", "services", ""): _READ,
    ("discovery.k8s.io", "endpointslices", ""): _READ,
    ("networking.k8s.io", "networkpolicies", ""): _READ,
    ("node.k8s.io", "runtimeclasses", ""): _READ,
    ("", "namespaces", ""): _READ,
    ("", "nodes", ""): _READ,
    ("", "pods", ""): _READ | {"create"},
    ("", "persistentvolumes", ""): frozenset({"list", "watch"}),
    ("storage.k8s.io", "csidrivers", ""): _READ,
    ("", "events", ""): frozenset({"create", "patch", "update"}),
    ("events.k8s.io", "events", ""): frozenset({"create", "patch", "update"}),
    ("certificates.k8s.io", "certificatesigningrequests", ""): _READ | {"create"},
    ("authentication.k8s.io", "tokenreviews", ""): frozenset({"create"}),
    ("authorization.k8s.io", "subjectaccessreviews", ""): frozenset({"create"}),
}
"""By group, resource and subresource. Which pods a node may create (mirrors of its own) is for admission to say."""
_DENIED = Decision(False)
_ALLOWED = Decision(True, "the node authoriser")


def node_name(user: User) -> str:
    """The node a user is, "" for anybody else."""
    if NODES in user.groups and user.name.startswith(_PREFIX):
        return user.name.removeprefix(_PREFIX)
    return ""


class NodeAuthorizer:
    """Decides for users that are nodes; says nothing of others."""

    def __init__(self, graph: NodeGraph, objects: ObjectReader) -> None:
        self._graph = graph
        self._objects = objects

    async def allow(self, attributes: Attributes) -> Decision:
        node = node_name(attributes.user)
        if not node or not attributes.is_resource:
            return _DENIED
        asked = (attributes.group, attributes.resource, attributes.subresource)
        if attributes.verb in _ALWAYS.get(asked, ()):
            return _ALLOWED
        if attributes.group == "":
            await self._graph.catch_up()
            return self._core(node, attributes)
        if asked == ("coordination.k8s.io", "leases", ""):
            return self._lease(node, attributes)
        if asked == ("storage.k8s.io", "csinodes", ""):
            return self._csi_node(node, attributes)
        if asked == ("storage.k8s.io", "volumeattachments", ""):
            return self._attachment(node, attributes)
        return _DENIED

    def _core(self, node: str, asked: Attributes) -> Decision:
        place = f"{asked.resource}/{asked.subresource}".rstrip("/")
        reference = Reference(asked.resource, asked.namespace, asked.name)
        match place:
            case "secrets" if asked.name and asked.verb in _READ and self._graph.mounts_with(node, reference):
                return _ALLOWED
            case "secrets" | "configmaps":
                return self._named(node, asked, reference, _READ)
            case "persistentvolumeclaims":
                return self._named(node, asked, reference, frozenset({"get"}))
            case "persistentvolumeclaims/status":
                return self._named(node, asked, reference, _CHANGE | {"get"})
            case "persistentvolumes":
                return self._volume(node, asked)
            case "serviceaccounts/token":
                return self._named(node, asked, reference, frozenset({"create"}))
            case "nodes" | "nodes/status":
                mine = asked.name == node or (asked.verb == "create" and not asked.subresource)
                return _when(mine and asked.verb in _CHANGE | {"create", "get"}, "a node may change only itself")
            case "pods" | "pods/status" | "pods/eviction":
                verbs = {"pods": {"delete"}, "pods/status": _CHANGE | {"get"}, "pods/eviction": {"create"}}[place]
                mine = self._graph.node_of(f"{asked.namespace}/{asked.name}") == node
                return _when(mine and asked.verb in verbs, "a node may change only pods bound to it")
        return _DENIED

    def _named(self, node: str, asked: Attributes, reference: Reference, verbs: frozenset[str]) -> Decision:
        if asked.verb not in verbs or not asked.name:
            return _DENIED
        return _when(
            self._graph.needs(node, reference),
            f"no relationship found between node '{node}' and this object: no pod bound to the node names it",
        )

    def _volume(self, node: str, asked: Attributes) -> Decision:
        volume = self._objects.get(PersistentVolume.resource, "", asked.name) if asked.name else None
        if volume is None:
            return _DENIED
        spec = volume.get("spec") or {}
        if asked.verb == "get":
            claim = spec.get("claimRef") or {}
            reference = Reference("persistentvolumeclaims", claim.get("namespace", ""), claim.get("name", ""))
            if self._graph.needs(node, reference):
                return _ALLOWED
        lives_here = node in _hostnames(spec)
        return _when(lives_here and asked.verb in _CHANGE | {"get"}, "the volume does not live on this node")

    def _csi_node(self, node: str, asked: Attributes) -> Decision:
        # As with leases, admission looks at the name of what is created.
        mine = asked.verb == "create" or asked.name == node
        return _when(
            mine and asked.verb in _CHANGE | {"create", "get", "delete"}, "a node may use only its own CSINode"
        )

    def _attachment(self, node: str, asked: Attributes) -> Decision:
        found = self._objects.get(VolumeAttachment.resource, "", asked.name) if asked.name else None
        mine = found is not None and (found.get("spec") or {}).get("nodeName") == node
        return _when(mine and asked.verb == "get", "a node may only get attachments to itself")

    def _lease(self, node: str, asked: Attributes) -> Decision:
        if asked.namespace != LEASE_NAMESPACE:
            return _DENIED
        # The name of an object to be created is not known yet; admission looks at it.
        mine = asked.verb == "create" or asked.name == node
        return _when(mine and asked.verb in _CHANGE | {"create", "get", "delete"}, "a node may use only its own lease")


def _hostnames(volume_spec: Obj) -> set[str]:
    """The nodes that a volume is tied to by host name."""
    required = (volume_spec.get("nodeAffinity") or {}).get("required") or {}
    return {
        value
        for term in required.get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
        if expression.get("key") == HOSTNAME and expression.get("operator") == "In"
        for value in expression.get("values") or ()
    }


def _when(allowed: bool, otherwise: str) -> Decision:
    return _ALLOWED if allowed else Decision(False, otherwise)
