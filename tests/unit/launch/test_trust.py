"""The world's authorities are found by their hash when they are asked for, and nobody else is trusted."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.launch.pki import ClusterPki
from pilothouse.launch.trust import by_directory

_CLIENT = """
import socket, ssl, sys
context = ssl.create_default_context()
assert not context.get_ca_certs(), "read before it is asked for"
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
    context.wrap_socket(plain, server_hostname="127.0.0.1").close()
"""


@pytest.fixture
def pki(tmp_path: Path) -> ClusterPki:
    return ClusterPki.open(tmp_path / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")


@pytest.fixture
def port(pki: ClusterPki) -> Iterator[int]:
    """A TLS server whose certificate the authority has signed."""
    context = pki.server_context()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = listening.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                        secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the Debian package openssl")
def test_an_authority_is_found_by_its_hash_and_no_other_is_trusted(pki: ClusterPki, port: int, tmp_path: Path) -> None:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pki.ca_path)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    for folder, place in (("known", f"{name}.0"), ("others", "01234567.0")):
        (tmp_path / folder).mkdir()
        shutil.copy(pki.ca_path, tmp_path / folder / place)

    def connects(folder: str) -> bool:
        more = by_directory({}, str(tmp_path / folder))
        assert more["SSL_CERT_DIR"] == str(tmp_path / folder)
        run = subprocess.run(
            [sys.executable, "-c", _CLIENT, str(port)], env={**os.environ, **more}, capture_output=True, text=True
        )
        assert run.returncode == 0 or ssl.SSLCertVerificationError.__name__ in run.stderr
        return run.returncode == 0

    assert connects("known")
    assert not connects("others")


def test_nothing_is_chosen_for_those_who_chose_or_have_no_such_directory(tmp_path: Path) -> None:
    (tmp_path / "ca-certificates.crt").write_text("")
    assert by_directory({}, str(tmp_path)) == {}
    assert by_directory({}, str(tmp_path / "none")) == {}
    (tmp_path / "0a1b2c3d.0").write_text("")
    assert by_directory({}, str(tmp_path)) != {}
    assert by_directory({"SSL_CERT_FILE": "/own.pem"}, str(tmp_path)) == {}
    assert by_directory({"SSL_CERT_DIR": "/own"}, str(tmp_path)) == {}
