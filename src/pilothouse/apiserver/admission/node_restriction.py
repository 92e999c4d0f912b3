"""A node, though authorised, writes only what is its own. Source: upstream's admission plugin NodeRestriction."""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.authorization.node import LEASE_NAMESPACE, node_name
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.core.static_pod import MIRROR, api_references
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.machinery.objects import Obj

_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
"""Labels in Kubernetes' domains that a node may set on itself; others there tell what others decided about it."""
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def validate(self, request: AdmissionRequest) -> None:
        node = node_name(request.user)
        if not node:
            return
        resource = request.resource
        if resource == Node.resource:
            _check_node(request, node)
        elif resource == Pod.resource:
            self._check_pod(request, node)
        elif resource == ServiceAccount.resource and request.subresource == "token":
            self._check_token(request, node)
        elif resource == Lease.resource and (request.namespace, request.name) != (LEASE_NAMESPACE, node):
            raise forbidden(request, f"node '{node}' can only access the lease {LEASE_NAMESPACE}/{node}")
        elif resource == PersistentVolumeClaim.resource:
            _check_claim(request, node)
        elif resource == CSINode.resource and request.name != node:
            raise forbidden(request, f"node '{node}' can only access the CSINode with its own name")
        elif resource == PersistentVolume.resource:
            _check_volume(request, node)

    def _check_pod(self, request: AdmissionRequest, node: str) -> None:
        if request.operation == "CREATE" and not request.subresource:
            self._check_mirror(request, request.object or {}, node)
            return
        current = request.old_object or self._objects.get(Pod.resource, request.namespace, request.name) or {}
        if (current.get("spec") or {}).get("nodeName") != node:
            raise forbidden(request, f"node '{node}' can only change pods with spec.nodeName set to itself")
        if request.subresource == "status" and request.object is not None:
            new, old = request.object["metadata"], current["metadata"]
            if (new.get("labels") or {}) != (old.get("labels") or {}):
                raise forbidden(request, f"node '{node}' cannot update labels through pod status")

    def _check_mirror(self, request: AdmissionRequest, pod: Obj, node: str) -> None:
        """A node shows its own static pods, and names nothing by them that it could not read otherwise."""
        meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if MIRROR not in (meta.get("annotations") or {}):
            raise forbidden(
                request, f"pod does not have \"{MIRROR}\" annotation, node '{node}' can only create mirror pods"
            )
        if spec.get("nodeName") != node:
            raise forbidden(request, f"node '{node}' can only create pods with spec.nodeName set to itself")
        owners = meta.get("ownerReferences") or []
        own = self._objects.get(Node.resource, "", node) or {"metadata": {}}
        mine = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": own["metadata"].get("uid")}
        if len(owners) != 1 or any(owners[0].get(key) != value for key, value in mine.items()):
            raise forbidden(request, f"node '{node}' can only create pods with an owner reference set to itself")
        if references := api_references(spec):
            raise forbidden(request, f"node '{node}' can not create pods that reference {', '.join(references)}")

    def _check_token(self, request: AdmissionRequest, node: str) -> None:
        reference = ((request.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if reference.get("kind") != "Pod" or not reference.get("uid"):
            raise forbidden(request, f"node '{node}' may request tokens only bound to a pod, by name and uid")
        pod = self._objects.get(Pod.resource, request.namespace, reference.get("name", ""))
        if pod is None or pod["metadata"]["uid"] != reference["uid"]:
            raise forbidden(request, f"node '{node}' requested a token bound to a pod that does not exist")
        if (pod.get("spec") or {}).get("nodeName") != node:
            raise forbidden(request, f"node '{node}' requested a token bound to a pod scheduled on a different node")


def _check_node(request: AdmissionRequest, node: str) -> None:
    if request.name != node:
        raise forbidden(request, f"node '{node}' is not allowed to modify node '{request.name}'")
    if request.object is None:
        return
    old = request.old_object or {}
    if request.operation == "UPDATE" and _taints(request.object) != _taints(old):
        raise forbidden(request, f"node '{node}' is not allowed to modify taints")
    new_meta, old_meta = request.object["metadata"], old.get("metadata") or {}
    if new_meta.get("ownerReferences") != old_meta.get("ownerReferences"):
        raise forbidden(request, f"node '{node}' is not allowed to modify ownerReferences")
    new_labels, old_labels = new_meta.get("labels") or {}, old_meta.get("labels") or {}
    changed = {key for key in {*new_labels, *old_labels} if new_labels.get(key) != old_labels.get(key)}
    refused = sorted(key for key in changed if not _is_own_label(key))
    if refused:
        raise forbidden(request, f"node '{node}' is not allowed to modify labels: {', '.join(refused)}")


_GROWING = frozenset({"capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"})


def _check_claim(request: AdmissionRequest, node: str) -> None:
    """A node tells that a volume has grown, and nothing else of its claim."""
    new, old = request.object or {}, request.old_object or {}
    kept = [{k: v for k, v in (claim.get("status") or {}).items() if k not in _GROWING} for claim in (new, old)]
    words = [[(claim.get("metadata") or {}).get(key) for key in ("labels", "annotations")] for claim in (new, old)]
    if request.operation != "UPDATE" or request.subresource != "status" or kept[0] != kept[1] or words[0] != words[1]:
        raise forbidden(
            request, f"node '{node}' is not allowed to update fields other than status.capacity and status.conditions"
        )


def _check_volume(request: AdmissionRequest, node: str) -> None:
    """A node lets go of a volume by taking its finalizer; everything else about it stays."""
    new, old = request.object or {}, request.old_object or {}
    if request.operation != "UPDATE" or new.get("spec") != old.get("spec"):
        raise forbidden(request, f"node '{node}' may only remove finalizers of volumes")


def _taints(node: Obj) -> list[Obj]:
    return (node.get("spec") or {}).get("taints") or []


def _is_own_label(key: str) -> bool:
    if key in _OWN_LABELS:
        return True
    prefix, slash, _ = key.partition("/")
    if not slash:
        return True
    if any(prefix == own or prefix.endswith("." + own) for own in _OWN_PREFIXES):
        return True
    return not any(prefix == domain or prefix.endswith("." + domain) for domain in ("kubernetes.io", "k8s.io"))
