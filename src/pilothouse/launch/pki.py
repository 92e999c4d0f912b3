"""The cluster's keys and certificates in D/pki: made at the first start, renewed while running.

Each file holds all that must change together (a certificate with its key), and is replaced atomically, so that a crash
leaves either the old pair or the new. Losing this directory means every member has to join again.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from pilothouse.controllers.certificates.authority import (
    CertificateAuthority,
    Leaf,
    create_authority,
    key_pem,
    new_key,
)

CA_LIFETIME = dt.timedelta(days=3650)
ADMIN_LIFETIME = dt.timedelta(days=365)
COMPONENT_LIFETIME = dt.timedelta(days=30)
_RENEW_AT = 2 / 3
"""The share of its life after which a certificate is replaced."""
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)

ADMIN = "admin"
API = "api"
NODE_CLIENT = "apiserver-node-client"
FRONT_PROXY = "front-proxy-client"
"""What the API server shows to the servers of aggregated APIs, which believe its holder who their users are."""


class PkiError(Exception):
    """D/pki cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    leaf: Leaf
    lifetime: dt.timedelta


class ClusterPki:
    """The authority, the key that signs service account tokens, and the leaf certificates of this machine's API."""

    def __init__(
        self, directory: Path, authority: CertificateAuthority, ca_key: bytes, wanted: dict[str, _Wanted]
    ) -> None:
        self.directory = directory
        self.authority = authority
        self.ca_key_pem = ca_key
        self._wanted = wanted
        self._renew_at: dict[str, dt.datetime] = {}

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        addresses: Sequence[str],
        service_ip: str,
        domain: str,
        components: Sequence[str] = (),
        now: dt.datetime | None = None,
    ) -> ClusterPki:
        """Reads D/pki, making whatever is missing, due or names other addresses. Raises PkiError.

        `addresses` are IP addresses or host names under which the API is reached, besides localhost; `components` are
        parts that run elsewhere, each of which gets a certificate as `system:NAME`.
        """
        now = now or dt.datetime.now(dt.UTC)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        combined = _read_or_make(
            directory / "ca.pem", lambda: b"".join(create_authority(_ca_name(now), CA_LIFETIME, now))
        )
        certificate, key = split(combined, directory / "ca.pem")
        try:
            authority = CertificateAuthority(certificate, key)
        except ValueError as error:
            raise PkiError(f"{directory / 'ca.pem'}: {error}: restore the file from a copy") from error
        if not (directory / "ca.crt").exists():
            write_private(directory / "ca.crt", certificate, mode=0o644)
        _read_or_make(directory / "service-account.key", lambda: key_pem(new_key()))
        wanted = _leaves(addresses, service_ip, domain)
        for name in components:
            wanted[name] = _Wanted(Leaf(f"system:{name}", client=True), COMPONENT_LIFETIME)
        pki = cls(directory, authority, key, wanted)
        pki.renew(now)
        return pki

    @property
    def ca_path(self) -> Path:
        """The authority's certificate alone, readable by all."""
        return self.directory / "ca.crt"

    @property
    def ca_pem(self) -> bytes:
        return self.authority.certificate_pem

    @property
    def ca_der(self) -> bytes:
        return self.authority.certificate_der

    @property
    def service_account_key(self) -> bytes:
        """The private key (PEM) that signs service account tokens."""
        return (self.directory / "service-account.key").read_bytes()

    def path(self, name: str) -> Path:
        """The file with certificate and key of `API`, `ADMIN` or `NODE_CLIENT`, as `load_cert_chain` takes it."""
        return self.directory / f"{name}.pem"

    def pair(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and key as separate PEM texts."""
        path = self.path(name)
        return split(path.read_bytes(), path)

    def renew(self, now: dt.datetime | None = None) -> list[str]:
        """Issues what is missing or due; returns which, so that their users load them again."""
        now = now or dt.datetime.now(dt.UTC)
        renewed = []
        for name, wanted in self._wanted.items():
            due = self._due(name, wanted, now)
            if due is None or due <= now:
                key = new_key()
                certificate = self.authority.issue(wanted.leaf, key.public_key(), wanted.lifetime, now)
                write_private(self.path(name), certificate + key_pem(key))
                due = now + wanted.lifetime * _RENEW_AT
                renewed.append(name)
            self._renew_at[name] = due
        return renewed

    def next_renewal(self) -> dt.datetime:
        """When `renew` will next have something to do."""
        return min(self._renew_at.values())

    def _due(self, name: str, wanted: _Wanted, now: dt.datetime) -> dt.datetime | None:
        """When the certificate on disk is to be replaced; None for one that is missing or says something else."""
        try:
            certificate = x509.load_pem_x509_certificate(self.path(name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if certificate.issuer != self._ca_subject() or not _covers(certificate, wanted.leaf):
            return None
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return None if begin > now else begin + (end - begin) * _RENEW_AT

    def _ca_subject(self) -> x509.Name:
        return x509.load_pem_x509_certificate(self.ca_pem).subject

    def server_context(self) -> ssl.SSLContext:
        """TLS for the API: asks for a client certificate, takes none too. `refresh` it after a renewal of `API`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.ca_pem.decode())
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.path(API))
        return context

    def client_context(self, name: str) -> ssl.SSLContext:
        """TLS for a client with the certificate of that name."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        context.load_cert_chain(self.path(name))
        return context

    def refresh(self, context: ssl.SSLContext, name: str) -> None:
        """Connections made from now on through `context` use the certificate on disk."""
        context.load_cert_chain(self.path(name))

    def admin_kubeconfig(self, server: str) -> str:
        """The administrator's kubeconfig for the API at that URL."""
        return kubeconfig(server, self.ca_pem, *self.pair(ADMIN))


def kubeconfig(server: str, ca: bytes, certificate: bytes, key: bytes, *, user: str = "pilothouse-admin") -> str:
    """A kubeconfig (YAML) with everything embedded; all but `server` and `user` are PEM texts."""
    import base64

    import yaml

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "pilothouse", "cluster": {"server": server, "certificate-authority-data": encoded(ca)}}],
        "users": [
            {"name": user, "user": {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}}
        ],
        "contexts": [{"name": "pilothouse", "context": {"cluster": "pilothouse", "user": user}}],
        "current-context": "pilothouse",
    }
    return yaml.safe_dump(tree, sort_keys=False)


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces a file atomically and durably; nobody sees it with wider rights than `mode`."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def split(data: bytes, path: Path) -> tuple[bytes, bytes]:
    """Certificate and private key of a combined PEM text. Raises PkiError naming the file when one is missing."""
    certificate = key = b""
    for match in _PEM.finditer(data):
        if match[1] == b"CERTIFICATE":
            certificate = match[0]
        elif match[1].endswith(b"PRIVATE KEY"):
            key = match[0]
    if not certificate or not key:
        raise PkiError(f"{path} lacks its certificate or its key: restore the file from a copy")
    return certificate, key


def _read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        data = make()
        write_private(path, data)
        return data


def _ca_name(now: dt.datetime) -> str:
    # A name of its own for every authority, so that certificates of an earlier cluster are told apart by issuer.
    return f"pilothouse-ca-{now:%Y%m%d%H%M%S}"


def _leaves(addresses: Sequence[str], service_ip: str, domain: str) -> dict[str, _Wanted]:
    hosts, ips = ["localhost"], ["127.0.0.1", service_ip]
    for address in addresses:
        target = ips if _is_ip(address) else hosts
        if address not in target and address not in ("0.0.0.0", "::"):
            target.append(address)
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    return {
        API: _Wanted(Leaf("kube-apiserver", (), [*hosts, *service], ips, server=True), COMPONENT_LIFETIME),
        ADMIN: _Wanted(Leaf("pilothouse-admin", ["system:masters"], client=True), ADMIN_LIFETIME),
        FRONT_PROXY: _Wanted(Leaf(FRONT_PROXY, client=True), COMPONENT_LIFETIME),
        NODE_CLIENT: _Wanted(Leaf("system:pilothouse:apiserver", client=True), COMPONENT_LIFETIME),
    }


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _covers(certificate: x509.Certificate, leaf: Leaf) -> bool:
    """Whether the certificate names every host and address wanted."""
    wanted = {*leaf.dns_names, *leaf.ip_addresses}
    if not wanted:
        return True
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    present = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return wanted <= present
