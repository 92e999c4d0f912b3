"""The distribution protocol, against a registry on loopback that asks for a token and breaks connections."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from known_layers import DEBIAN, image_files, sha256, status, tar_of

from pilothouse.guard.images.fetch import Http
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.scan.inventory import take_inventory
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.reference import parse
from pilothouse.guard.images.source.registry import Login, Registry, docker_logins

LAYER = tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("x", "1", ""))})


class _Registry:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.referrers: dict[str, bytes] = {}
        self.cuts = 0
        self.token = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, manifest: bytes, blobs: dict[str, bytes]) -> None:
        self.blobs |= blobs
        self.manifests |= {name: manifest, sha256(manifest): manifest}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append((request.path, dict(request.headers)))
        if request.path.startswith("/token"):
            request.send_response(200)
            request.end_headers()
            request.wfile.write(json.dumps({"token": self.token}).encode())
            return
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            request.send_response(401)
            realm = f'Bearer realm="http://{self.host}/token",service="registry",scope="repository:other:pull"'
            request.send_header("WWW-Authenticate", realm)
            request.end_headers()
            return
        _, _, name = request.path.rpartition("/")
        kept = {"manifests": self.manifests, "referrers": self.referrers}
        data = kept.get(request.path.split("/")[-2], self.blobs).get(name)
        if data is None:
            request.send_error(404)
            return
        wanted = request.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        body = data[start:]
        if "/blobs/" in request.path and self.cuts and len(body) > 100:
            self.cuts -= 1
            body = body[: len(body) // 2]
        request.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[_Registry]:
    registry = _Registry()
    manifest, blobs = image_files([LAYER], {"User": "app"})
    registry.put("1", manifest, blobs)
    yield registry
    registry.close()


def opened(registry: _Registry, name: str = "team/app:1", login: Login | None = None) -> Registry:
    return Registry(parse(f"{registry.host}/{name}"), Http(pause=lambda seconds: None), login or Login())


def test_an_image_is_read_with_a_token_and_a_connection_that_breaks(registry: _Registry) -> None:
    registry.token = "secret"
    registry.cuts = 2
    image = opened(registry, login=Login("me", "word")).image("linux/amd64")
    with LayerReader() as reader:
        found = take_inventory(image, reader, LayerCache(None))
    assert [entry.package.name for entry in found.packages] == ["x"]
    assert found.user == "app"
    token = next(asked for asked in registry.asked if asked[0].startswith("/token"))
    assert "scope=repository%3Ateam%2Fapp%3Apull" in token[0]
    assert base64.b64decode(token[1]["Authorization"].removeprefix("Basic ")) == b"me:word"


def test_an_index_gives_the_platform_that_is_asked_for(registry: _Registry) -> None:
    manifest = registry.manifests["1"]
    entries = [
        {"digest": sha256(b"none"), "size": 1, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": sha256(manifest), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
        {
            "digest": sha256(b"att"),
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        },
    ]
    registry.manifests["many"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    assert opened(registry, "team/app:many").image("linux/amd64").digest == sha256(manifest)
    with pytest.raises(NotReadable, match="only: linux/amd64, linux/arm64"):
        opened(registry, "team/app:many").image("linux/s390x")


def test_what_is_not_what_its_digest_says_is_refused(registry: _Registry) -> None:
    digest = sha256(registry.manifests["1"])
    registry.manifests[digest] = b'{"schemaVersion": 2, "config": {}, "layers": []}'
    with pytest.raises(NotReadable, match="is not what its digest"):
        opened(registry, f"team/app@{digest}").image("linux/amd64")
    layer = next(name for name, data in registry.blobs.items() if data[:2] == b"\x1f\x8b")
    registry.blobs[layer] = registry.blobs[layer][:-1] + b"x"
    image = opened(registry).image("linux/amd64")
    with LayerReader() as reader, pytest.raises(NotReadable):
        take_inventory(image, reader, LayerCache(None))


@pytest.mark.parametrize(
    ("name", "message"),
    [("team/app:2", "does not have it"), ("team/none@sha256:" + "0" * 64, "does not have it")],
)
def test_what_is_not_there_is_told(registry: _Registry, name: str, message: str) -> None:
    with pytest.raises(NotReadable, match=message):
        opened(registry, name).image("linux/amd64")


def test_a_registry_that_wants_a_login_says_how(registry: _Registry) -> None:
    registry.token = "secret"
    image = opened(registry)
    registry.token = "other"
    image._secret = "Bearer secret"
    assert image.image("linux/amd64").config.user == "app", "an expired token is asked for again"


def test_logins_are_those_that_docker_keeps(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    auth = base64.b64encode(b"me:pass:word").decode()
    file.write_text(
        json.dumps({"auths": {"example.com": {"auth": auth}, "https://index.docker.io/v1/": {"auth": auth}}})
    )
    login = docker_logins(file)
    assert login("example.com") == Login("me", "pass:word")
    assert login("docker.io").username == "me"
    assert login("other.com") == Login()
    assert "pass" not in repr(login("example.com"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("me/app:1", "docker.io/me/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("example.com/a/b@sha256:" + "a" * 64, "example.com/a/b@sha256:" + "a" * 64),
    ],
)
def test_references(text: str, wanted: str) -> None:
    assert str(parse(text)) == wanted


@pytest.mark.parametrize("text", ["", "UPPER/case", "a b", "a:b:c", "example.com/", "-x"])
def test_what_is_no_reference_is_told(text: str) -> None:
    with pytest.raises(NotReadable, match="is no image reference"):
        parse(text)
