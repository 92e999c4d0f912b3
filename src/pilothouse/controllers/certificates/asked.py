"""What a certificate request asks for, read from its PEM."""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from pilothouse.controllers.certificates.authority import PublicKey

_SHORTEST_RSA = 2048


class Asked(NamedTuple):
    """Subject and names of a request; `others` counts names of kinds that are never granted (e-mail, URI);
    `public_key` is None for a key that is not signed for."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    others: int
    public_key: PublicKey | None


def read_request(pem: bytes) -> Asked:
    """Raises ValueError for a request that cannot be read or is not signed by its own key."""
    request = x509.load_pem_x509_csr(pem)
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by the key it names")
    names = [str(name.value) for name in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organizations = [str(name.value) for name in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    dns_names: list[str] = []
    addresses: list[str] = []
    others = 0
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = None
    if found is not None:
        dns_names = found.get_values_for_type(x509.DNSName)
        addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
        others = len(list(found)) - len(dns_names) - len(addresses)
    return Asked(
        names[0] if len(names) == 1 else "",
        tuple(organizations),
        tuple(dns_names),
        tuple(addresses),
        others,
        _usable(request.public_key()),
    )


def _usable(key: object) -> PublicKey | None:
    """The key, if it is of a kind and length that is signed for."""
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size >= _SHORTEST_RSA else None
    return key if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) else None
