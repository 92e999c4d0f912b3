"""OCI images assembled from Debian packages and files, and pushed to a registry: for examples and tests.

No container tool is needed: apt resolves and fetches the packages with the host's own sources, their files go into one
layer with a dpkg database that says what is inside, and the registry's HTTP API takes the result.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/info/")
_MERGED = ("bin", "sbin", "lib", "lib64")
"""Top folders that Debian 12 keeps as links into /usr, whatever a package says."""


class ImageError(Exception):
    """An image cannot be built or pushed; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image ready to be pushed: blobs by digest, the manifest's bytes last."""

    manifest: bytes
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        return digest(self.manifest)


@dataclass(slots=True)
class Recipe:
    """What goes into an image: Debian packages, files (path to bytes), and how it runs."""

    packages: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    executables: Mapping[str, bytes] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    user: str = "10001:10001"
    env: Sequence[str] = ("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",)
    exposed: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def digest(data: bytes) -> str:
    """`sha256:…` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def build(recipe: Recipe) -> Image:
    """Assembles the image; the same packages and files give the same digest. Raises ImageError."""
    with tempfile.TemporaryDirectory() as folder:
        debs = fetch(recipe.packages, Path(folder)) if recipe.packages else []
        plain = _layer(debs, recipe)
    layer = gzip.compress(plain, compresslevel=5, mtime=0)
    config = _encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": list(recipe.entrypoint),
                "User": recipe.user,
                "Env": list(recipe.env),
                "ExposedPorts": {port: {} for port in recipe.exposed},
                "WorkingDir": "/",
                "Labels": dict(recipe.labels),
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
        }
    )
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}],
        }
    )
    return Image(manifest, {digest(layer): layer, digest(config): config})


def fetch(packages: Iterable[str], folder: Path) -> list[Path]:
    """Downloads packages and all they depend on, resolved as if nothing were installed. Raises ImageError."""
    (folder / "partial").mkdir()
    empty = folder / "status"
    empty.touch()
    options = [
        f"Dir::State::status={empty}",
        f"Dir::Cache::archives={folder}",
        "APT::Install-Recommends=false",
        "APT::Keep-Downloaded-Packages=true",
        "APT::Sandbox::User=root",
        "Binary::apt::APT::Keep-Downloaded-Packages=true",
    ]
    command = ["apt-get", "-qq", "--download-only", "-y", *(f"-o{option}" for option in options)]
    done = subprocess.run([*command, "install", *packages], capture_output=True, text=True)
    if done.returncode != 0:
        raise ImageError(f"apt-get cannot fetch {' '.join(packages)}: {done.stderr.strip()[-600:]}")
    return sorted(folder.glob("*.deb"))


def archive(image: Image, name: str) -> bytes:
    """The image as a tar of an OCI layout that `ctr images import` takes, under the name given."""
    entry = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    files = {
        "oci-layout": _encode({"imageLayoutVersion": "1.0.0"}),
        "index.json": _encode({"schemaVersion": 2, "manifests": [entry]}),
    }
    for name_, data in {**image.blobs, image.digest: image.manifest}.items():
        files["blobs/sha256/" + name_.partition(":")[2]] = data
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in files.items():
            _add(tar, path, data, 0o644)
    return out.getvalue()


def push(image: Image, registry: str, repository: str, tag: str) -> str:
    """Pushes to a plain-HTTP registry on loopback; returns `registry/repository@digest`. Raises ImageError."""
    host, _, port = registry.partition(":")
    connection = http.client.HTTPConnection(host, int(port or 80), timeout=30)
    try:
        for name, data in image.blobs.items():
            if _ask(connection, "HEAD", f"/v2/{repository}/blobs/{name}").status != 200:
                started = _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/")
                _expect(started.status, 202, f"starting an upload to {registry}/{repository}")
                target = urlsplit(started.headers["location"])
                where = f"{target.path}?{target.query + '&' if target.query else ''}digest={name}"
                done = _ask(connection, "PUT", where, data, "application/octet-stream")
                _expect(done.status, 201, f"uploading {name} to {registry}/{repository}")
        for reference in (tag, image.digest):
            done = _ask(connection, "PUT", f"/v2/{repository}/manifests/{reference}", image.manifest, MANIFEST)
            _expect(done.status, 201, f"writing the manifest {registry}/{repository}:{reference}")
    except OSError as error:
        raise ImageError(f"cannot reach the registry at {registry}: {error}") from error
    finally:
        connection.close()
    return f"{registry}/{repository}@{image.digest}"


def _layer(debs: Iterable[Path], recipe: Recipe) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        seen: set[str] = set()
        for name in ("usr", *(f"usr/{folder}" for folder in _MERGED), "etc", "var", "var/lib", "var/lib/dpkg"):
            _folder(tar, name, 0o755, seen)
        for folder in _MERGED:
            link = tarfile.TarInfo(folder)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{folder}"
            tar.addfile(link)
            seen.add(folder)
        _folder(tar, "tmp", 0o1777, seen)
        stanzas = [_unpack(deb, tar, seen) for deb in debs]
        texts = {
            "etc/passwd": b"root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:10001:10001::/:/usr/sbin/nologin\n",
            "etc/group": b"root:x:0:\napp:x:10001:\n",
            "var/lib/dpkg/status": "\n".join(stanzas).encode(),
            "etc/os-release": _os_release(),
            **{path.lstrip("/"): data for path, data in recipe.files.items()},
        }
        for path, data in texts.items():
            _parents(tar, path, seen)
            _add(tar, path, data, 0o644)
        for path, data in recipe.executables.items():
            _parents(tar, path.lstrip("/"), seen)
            _add(tar, path.lstrip("/"), data, 0o755)
    return out.getvalue()


def _unpack(deb: Path, tar: tarfile.TarFile, seen: set[str]) -> str:
    """Adds a package's files to the layer; returns its dpkg status stanza."""
    stream = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(stream)) as content:
        for member in content:
            path = _merged(member.name.removeprefix("./").rstrip("/"))
            if not path or path in seen or path.startswith(_LEFT_OUT):
                continue
            member.name = path
            if member.islnk():
                member.linkname = _merged(member.linkname.removeprefix("./"))
            _parents(tar, path, seen)
            seen.add(path)
            member.mtime, member.pax_headers = 0, {}
            tar.addfile(member, content.extractfile(member) if member.isreg() else None)
    fields = subprocess.run(["dpkg-deb", "--field", str(deb)], capture_output=True, text=True, check=True).stdout
    package, _, rest = fields.partition("\n")
    return f"{package}\nStatus: install ok installed\n{rest}"


def _merged(path: str) -> str:
    return f"usr/{path}" if path.split("/", 1)[0] in _MERGED else path


def _parents(tar: tarfile.TarFile, path: str, seen: set[str]) -> None:
    parts = path.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        _folder(tar, "/".join(parts[:end]), 0o755, seen)


def _folder(tar: tarfile.TarFile, path: str, mode: int, seen: set[str]) -> None:
    if path and path not in seen:
        seen.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        tar.addfile(entry)


def _add(tar: tarfile.TarFile, path: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _os_release() -> bytes:
    try:
        return Path("/usr/lib/os-release").read_bytes()
    except OSError:
        return b"ID=debian\n"


def _encode(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":"), sort_keys=True).encode()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", content_type: str = ""
) -> http.client.HTTPResponse:
    headers = {"Content-Length": str(len(body))}
    if content_type:
        headers["Content-Type"] = content_type
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    response.read()
    return response


def _expect(status: int, wanted: int, doing: str) -> None:
    if status != wanted:
        raise ImageError(f"{doing}: the registry answered {status}")
