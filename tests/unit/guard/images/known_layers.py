"""Layers with known contents, for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

DEBIAN = b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
ALPINE = b'ID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n'


def tar_of(files: Mapping[str, bytes | tuple[str, str] | tuple[bytes, int]]) -> bytes:
    """A tar: bytes are a file, (kind, target) a link ("symlink" or "hardlink"), (bytes, mode) a file with a mode."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            data = b""
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, tuple) and isinstance(content[0], str):
                entry.type = tarfile.SYMTYPE if content[0] == "symlink" else tarfile.LNKTYPE
                entry.linkname = str(content[1])
            elif isinstance(content, tuple):
                data, entry.mode = bytes(content[0]), int(content[1])
            else:
                data = bytes(content)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def status(*packages: tuple[str, str, str]) -> bytes:
    """A dpkg status file of (name, version, Source field)."""
    return b"\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n".encode()
        + (f"Source: {source}\n".encode() if source else b"")
        + f"Version: {version}\n".encode()
        for name, version, source in packages
    )


def jar(files: Mapping[str, bytes]) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def pom_properties(group: str, artifact: str, version: str) -> dict[str, bytes]:
    """The file that Maven leaves in a jar."""
    name = f"META-INF/maven/{group}/{artifact}/pom.properties"
    return {name: f"#made\ngroupId={group}\nartifactId={artifact}\nversion={version}\n".encode()}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image_files(layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> tuple[bytes, dict[str, bytes]]:
    """The manifest of an image, and its blobs by digest; layers are compressed."""
    blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
            "history": [{"created_by": f"RUN step {number}"} for number in range(len(layers))],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha256(configuration),
                "size": len(configuration),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": sha256(blob),
                    "size": len(blob),
                }
                for blob in blobs
            ],
        }
    ).encode()
    return manifest, {sha256(blob): blob for blob in (*blobs, configuration)}


def write_layout(folder: Path, layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> Path:
    """An OCI layout in a folder."""
    manifest, blobs = image_files(layers, config)
    place = folder / "blobs" / "sha256"
    place.mkdir(parents=True, exist_ok=True)
    for digest, data in {**blobs, sha256(manifest): manifest}.items():
        (place / digest.partition(":")[2]).write_bytes(data)
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sha256(manifest),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "example/app:1"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def docker_archive(path: Path, layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> Path:
    """What `docker save` writes."""
    configuration = json.dumps(
        {"config": dict(config or {}), "rootfs": {"diff_ids": [sha256(layer) for layer in layers]}}
    ).encode()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["example/app:1"], "Layers": names}]
    files = dict(zip(names, layers))
    path.write_bytes(tar_of({**files, "config.json": configuration, "manifest.json": json.dumps(manifest).encode()}))
    return path


def rpm_header(values: Mapping[int, tuple[int, object]]) -> bytes:
    """An RPM header of tag: (type, value); 6 is a string, 8 an array of strings, 4 an array of numbers."""
    index, data = b"", b""
    for tag, (kind, value) in values.items():
        if kind == 4:
            numbers = list(value)  # type: ignore[call-overload]
            data += bytes(-len(data) % 4)
            index += b"".join(n.to_bytes(4, "big") for n in (tag, kind, len(data), len(numbers)))
            data += b"".join(number.to_bytes(4, "big") for number in numbers)
        else:
            texts = [value] if kind == 6 else list(value)  # type: ignore[call-overload]
            index += b"".join(n.to_bytes(4, "big") for n in (tag, kind, len(data), len(texts)))
            data += b"".join(str(text).encode() + b"\0" for text in texts)
    return len(values).to_bytes(4, "big") + len(data).to_bytes(4, "big") + index + data
