"""What no policy and no webhook is asked about, so that none of them can lock the cluster out of itself.

Three things (docs/decisions/0026): the policies and webhooks themselves and the reviews, as upstream has it, so that an
administrator can always mend them; what says who may do what and who is alive (leases, events, certificate requests);
and what the engine's own parts write of their own accord: status, bindings, endpoints, nodes, and the accounts and
certificates every namespace has. What they make because a user asked for it (pods of a Deployment, claims) is judged.
"""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.client.wire import User
from pilothouse.machinery.objects import Obj

_OWN_GROUP = "admissionregistration.k8s.io"
_REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
_NODES = "system:nodes"
BOOTSTRAP = "system:pilothouse:bootstrap"
"""Who writes what a cluster holds from its first start; at every start, so that a refusal would keep the API down."""
_COMPONENTS = ("system:controller:", "system:pilothouse:", "system:kube-scheduler", "system:kube-controller-manager")

_HOUSEKEEPING = frozenset(
    {
        ("coordination.k8s.io", "leases"),
        ("", "events"),
        ("events.k8s.io", "events"),
        ("", "nodes"),
        ("", "endpoints"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ipaddresses"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "volumeattachments"),
        ("certificates.k8s.io", "certificatesigningrequests"),
        ("apps", "controllerrevisions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("flowcontrol.apiserver.k8s.io", "flowschemas"),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
        ("scheduling.k8s.io", "priorityclasses"),
    }
)
_OWN_PARTS = frozenset({"status", "binding", "finalize", "approval", "token"})
_ROOT_CA, _DEFAULT_ACCOUNT = "kube-root-ca.crt", "default"


def exempt(request: AdmissionRequest) -> bool:
    """Whether policies and webhooks are not asked about a request."""
    group, plural = request.resource.group, request.resource.plural
    if group == _OWN_GROUP or group in _REVIEWS or request.user.name == BOOTSTRAP:
        return True
    return is_component(request.user) and _own_accord(request, (group, plural))


def is_component(user: User) -> bool:
    """Whether a part of the engine asks: a controller, the scheduler, a node."""
    return user.name.startswith(_COMPONENTS) or _NODES in user.groups


def _own_accord(request: AdmissionRequest, place: tuple[str, str]) -> bool:
    if place in _HOUSEKEEPING or request.subresource in _OWN_PARTS:
        return True
    if _NODES in request.user.groups:
        return request.operation == "DELETE" or request.subresource != ""
    if place == ("", "configmaps"):
        return request.name == _ROOT_CA
    if place == ("", "serviceaccounts"):
        return request.name == _DEFAULT_ACCOUNT
    return _only_metadata(request)


def _only_metadata(request: AdmissionRequest) -> bool:
    """Whether an update leaves alone what people write: finalizers, owners and annotations are how controllers work."""
    new, old = request.object, request.old_object
    if new is None or old is None or request.operation != "UPDATE":
        return False
    return all(
        new.get(key) == old.get(key) for key in new.keys() | old.keys() if key not in ("metadata", "status")
    ) and (_labels(new) == _labels(old))


def _labels(tree: Obj) -> Obj:
    return (tree.get("metadata") or {}).get("labels") or {}
