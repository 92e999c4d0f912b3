"""Asks the cluster for a certificate and waits for it."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Sequence

from pilothouse.client.client import Client
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.node.identity.errors import IdentityError

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_RECONNECT = 0.2


async def obtain(client: Client, node_name: str, signer: str, names: Sequence[str] = ()) -> bytes:
    """A new key and a certificate for it, as one PEM text. Waits as long as it takes.

    `names` are DNS names and addresses of a serving certificate. Raises IdentityError when the request was denied, and
    ApiError.
    """
    key, request = new_request(node_name, names)
    auth = "server auth" if signer == SERVING_SIGNER else "client auth"
    spec = {
        "request": base64.b64encode(request).decode(),
        "signerName": signer,
        "usages": ["digital signature", auth],
    }
    tree = {"metadata": {"generateName": f"{node_name}-"}, "spec": spec}
    made = await client.create_tree(CertificateSigningRequest.resource, tree)
    certificate = await _issued(client, made["metadata"]["name"])
    return certificate + key


async def _issued(client: Client, name: str) -> bytes:
    while True:
        current = await client.find(CertificateSigningRequest, name)
        found = _outcome(current, name)
        if found is not None:
            return found
        assert current is not None
        version = current.metadata.resource_version
        events = client.watch(
            CertificateSigningRequest, field_selector=f"metadata.name={name}", resource_version=version
        )
        async for event in events:
            if event.type == "BOOKMARK":
                continue
            found = _outcome(None if event.type == "DELETED" else event.object, name)
            if found is not None:
                return found
        await asyncio.sleep(_RECONNECT)


def _outcome(request: CertificateSigningRequest | None, name: str) -> bytes | None:
    """The certificate, None while nobody decided. Raises IdentityError."""
    if request is None:
        raise IdentityError(f"the certificate request {name} was deleted before it was decided: start again")
    for condition in request.status.conditions:
        if condition.type in ("Denied", "Failed"):
            raise IdentityError(f"the certificate request {name} was refused: {condition.message or condition.reason}")
    return base64.b64decode(request.status.certificate) if request.status.certificate else None


def new_request(node_name: str, names: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """A new private key and a request for a node's certificate, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        wanted = [x509.IPAddress(ipaddress.ip_address(n)) if _is_address(n) else x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, request


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
