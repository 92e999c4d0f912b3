"""Which certificate requests are approved without asking a person, and which are signed. Pure.

Source: Kubernetes documentation, "Certificates and Certificate Signing Requests", Kubernetes signers; the approval of
serving certificates, which upstream leaves to others, holds their names against the node's registered addresses.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pilothouse.controllers.certificates.asked import Asked
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.kinds.core.node import Node

CLIENT: Final = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING: Final = "kubernetes.io/kubelet-serving"
SIGNERS: Final = (CLIENT, NODE_CLIENT, NODE_SERVING)

_NODES: Final = "system:nodes"
_NODE_PREFIX: Final = "system:node:"
_COMMON: Final = frozenset({"digital signature", "key encipherment"})


class Verdict(NamedTuple):
    """Approve at once (`permission` empty), approve if the requester may create that subresource of
    certificatesigningrequests, or wait. `why` is for the condition's message or the log."""

    approve: bool
    permission: str = ""
    why: str = ""


def conditions(request: CertificateSigningRequest) -> set[str]:
    """The types of its conditions."""
    return {condition.type for condition in request.status.conditions}


def fault(request: CertificateSigningRequest, asked: Asked) -> str:
    """What keeps a known signer from ever signing the request, "" if nothing does."""
    spec = request.spec
    signer, usages = spec.signer_name, set(spec.usages)
    auth = "server auth" if signer == NODE_SERVING else "client auth"
    if auth not in usages or not usages <= _COMMON | {auth}:
        return f"usages must be {auth} and digital signature (key encipherment is allowed)"
    if asked.others:
        return "e-mail and URI names are not signed"
    if asked.public_key is None:
        return "the key must be an elliptic curve, Ed25519 or RSA key, RSA of 2048 bits or more"
    if signer == CLIENT:
        return "organization system:masters is not signed" if "system:masters" in asked.organizations else ""
    if asked.organizations != (_NODES,) or not asked.common_name.startswith(_NODE_PREFIX):
        return f"the subject must be O={_NODES}, CN={_NODE_PREFIX}NAME"
    if signer == NODE_CLIENT:
        return "names are not allowed in a node's client certificate" if asked.dns_names + asked.ip_addresses else ""
    if not asked.dns_names + asked.ip_addresses:
        return "a serving certificate needs at least one DNS name or IP address"
    if spec.username != asked.common_name:
        return f"{spec.username} may not ask for a serving certificate of {asked.common_name}"
    return ""


def approval(request: CertificateSigningRequest, asked: Asked, node: Node | None) -> Verdict:
    """For a request without fault; `node` is the one its subject names, if it is registered."""
    signer = request.spec.signer_name
    if signer == NODE_CLIENT:
        own = request.spec.username == asked.common_name
        kind = "selfnodeclient" if own else "nodeclient"
        return Verdict(True, kind, f"Auto approving kubelet client certificate ({kind}).")
    if signer != NODE_SERVING:
        return Verdict(False, why="a person decides")
    if node is None:
        return Verdict(False, why=f"{asked.common_name.removeprefix(_NODE_PREFIX)} is not registered yet")
    known = {address.address for address in node.status.addresses}
    strange = [name for name in (*asked.dns_names, *asked.ip_addresses) if name not in known]
    if strange:
        return Verdict(False, why=f"not among the node's registered addresses: {', '.join(strange)}")
    return Verdict(True, "", "Auto approving kubelet serving certificate: its names are the node's addresses.")


def node_of(asked: Asked) -> str:
    """The node a request is for, "" for others."""
    return asked.common_name.removeprefix(_NODE_PREFIX) if asked.common_name.startswith(_NODE_PREFIX) else ""
