"""A certificate authority: an ECDSA P-256 key that signs leaf certificates for clients and servers."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
"""Whose owners get certificates."""
BACKDATE = dt.timedelta(minutes=5)
"""Certificates begin this much in the past, so that peers with slightly slow clocks accept them."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate is to say: whose it is, where it serves, and what it may be used for."""

    common_name: str
    organizations: Sequence[str] = ()
    dns_names: Sequence[str] = ()
    ip_addresses: Sequence[str] = ()
    client: bool = False
    server: bool = False


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS#8 PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key in a PEM text. Raises ValueError when there is none or it is not an elliptic curve's."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


class CertificateAuthority:
    """Issues certificates. Raises ValueError when key and certificate do not belong together."""

    def __init__(self, certificate_pem: bytes, private_key_pem: bytes) -> None:
        self.certificate_pem = certificate_pem
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)
        self._key = load_key(private_key_pem)
        if self._certificate.public_key() != self._key.public_key():
            raise ValueError("the certificate authority's key does not belong to its certificate")

    @property
    def certificate_der(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.DER)

    def issue(self, leaf: Leaf, public_key: PublicKey, lifetime: dt.timedelta, now: dt.datetime) -> bytes:
        """A certificate (PEM) good from a little before `now` for `lifetime`, never longer than the authority's own."""
        end = min(now + lifetime, self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject_name(leaf.common_name, leaf.organizations))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATE, self._certificate.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_extended_usages(leaf)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        names = alternative_names(leaf.dns_names, leaf.ip_addresses)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def create_authority(common_name: str, lifetime: dt.timedelta, now: dt.datetime) -> tuple[bytes, bytes]:
    """A new self-signed authority: its certificate and its key, both PEM."""
    key = new_key()
    name = subject_name(common_name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


def subject_name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    """The subject: organizations are a Kubernetes user's groups, the common name is the user's name."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def alternative_names(dns_names: Sequence[str], ip_addresses: Sequence[str]) -> list[x509.GeneralName]:
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]
    return [*(x509.DNSName(name) for name in dns_names), *addresses]


def _extended_usages(leaf: Leaf) -> list[x509.ObjectIdentifier]:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] if leaf.client else []
    return [*usages, ExtendedKeyUsageOID.SERVER_AUTH] if leaf.server else usages


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
