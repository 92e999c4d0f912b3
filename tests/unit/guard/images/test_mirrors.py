"""Where registries are asked: by containerd's own files, with a mirror on loopback."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from known_layers import DEBIAN, image_files, sha256, status, tar_of
from test_registry import _Registry

from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.door.scan import answer
from pilothouse.guard.images.fetch import Http
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.mirrors import Endpoint, endpoints


def written(folder: Path, host: str, text: str) -> Path:
    (folder / host).mkdir(parents=True, exist_ok=True)
    (folder / host / "hosts.toml").write_text(text)
    return folder


def test_places_are_asked_in_order_and_the_registry_itself_last(tmp_path: Path) -> None:
    certs = written(
        tmp_path,
        "docker.io",
        """
        server = "https://registry-1.docker.io"
        [host."https://mirror.example:5000"]
          capabilities = ["pull", "resolve"]
          ca = ["own.pem", "/etc/ssl/other.pem"]
        [host."https://push.example"]
          capabilities = ["push"]
        [host."http://plain.example/cache/v2"]
          override_path = true
          skip_verify = true
        """,
    )
    authorities = (str(tmp_path / "docker.io" / "own.pem"), "/etc/ssl/other.pem")
    assert endpoints(certs, "docker.io") == [
        Endpoint("https://mirror.example:5000/v2", authorities),
        Endpoint("http://plain.example/cache/v2", (), False),
        Endpoint("https://registry-1.docker.io/v2"),
    ]
    assert endpoints(certs, "registry.example") == []
    written(certs, "_default", '[host."https://all.example"]')
    assert [place.url for place in endpoints(certs, "registry.example:1")] == [
        "https://all.example/v2",
        "https://registry.example:1/v2",
    ]


@pytest.mark.parametrize("text", ["[", 'server = "ftp://x"', '[host."file:///x"]'])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotReadable, match=r"hosts\.toml"):
        endpoints(written(tmp_path, "r.example", text), "r.example")


def test_the_door_asks_a_mirror_and_then_the_next(tmp_path: Path) -> None:
    registry = _Registry()
    try:
        image = [tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("redis", "1.0-1", ""))})]
        manifest, blobs = image_files(image)
        registry.put("1", manifest, blobs)
        text = f'[host."http://127.0.0.1:1"]\n[host."http://{registry.host}"]\n'
        certs = written(tmp_path / "certs", "r.invalid", text)
        found = answer(tmp_path / "vulndb", Question("r.invalid/team/app:1"), certs)
        assert found.digests == (sha256(manifest),)
        lost = answer(tmp_path / "vulndb", Question("r.invalid/team/app:2"), certs)
        assert "cannot be reached" in lost.reasons[0]
        assert "does not have it" in lost.reasons[0]
    finally:
        registry.close()


class _Own(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    """A server with a certificate that no system knows; `own.pem` is its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "own.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "own.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(own: str, tmp_path: Path) -> None:
    with pytest.raises(NotReadable, match="certificate verify failed"):
        Http(tries=1).get(own)
    assert b"".join(Http(tries=1, authorities=[str(tmp_path / "own.pem")]).get(own).pieces()) == b"ok"
    assert b"".join(Http(tries=1, verify=False).get(own).pieces()) == b"ok"
    with pytest.raises(NotReadable, match="no certificates of an authority"):
        Http(authorities=[str(tmp_path / "absent.pem")])
