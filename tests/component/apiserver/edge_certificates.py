"""Certificates for servers and clients on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """A CA, a server certificate for 127.0.0.1, and client certificates, as files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        ca = self._sign(self._ca_name, self._ca_key.public_key(), x509.BasicConstraints(True, None))
        self.ca = self._write("ca.crt", ca.public_bytes(serialization.Encoding.PEM))
        self.server = self.issue("server", "127.0.0.1")

    def issue(self, file: str, name: str, *groups: str, host: str = "") -> tuple[Path, Path]:
        """Certificate and key files for a name; for 127.0.0.1, or a host of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        loopback = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
        services = [x509.DNSName(f"{service}.ns.svc") for service in ("extension", "hook")]
        alternative = x509.SubjectAlternativeName([x509.DNSName(host) if host else loopback, *services])
        certificate = self._sign(x509.Name(attributes), key.public_key(), alternative)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{file}.key", pem),
        )

    def server_context(self, host: str = "") -> ssl.SSLContext:
        """TLS that asks for a client certificate and takes none too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(self.issue(host, host, host=host) if host else self.server))
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_context(self, name: str, *groups: str) -> ssl.SSLContext:
        """TLS for a client of that name; without a certificate when the name is empty."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if name:
            context.load_cert_chain(*self.issue(name, name, *groups))
        return context

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            self._ca_name, name, key, x509.random_serial_number(), now - dt.timedelta(minutes=5), now + dt.timedelta(1)
        )
        return builder.add_extension(extension, critical=False).sign(self._ca_key, hashes.SHA256())

    def _write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        os.chmod(path, 0o600)
        return path
