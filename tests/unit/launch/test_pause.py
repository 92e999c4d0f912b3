"""The sandbox program really waits, lets orphans be reaped, and is packed as an image."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from pilothouse.launch.pause import IMAGE, UnsupportedMachine, archive, program


def test_the_program_waits_ignores_children_and_ends_by_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    path.write_bytes(program())
    path.chmod(0o755)
    process = subprocess.Popen([path])
    try:
        while "pause" not in (waits := Path(f"/proc/{process.pid}/wchan").read_text()):
            assert process.poll() is None, "it ended by itself"
        ignored = next(
            line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigIgn")
        )
        assert int(ignored.split()[1], 16) >> (signal.SIGCHLD - 1) & 1, waits
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=10) == -signal.SIGTERM


def test_the_archive_names_the_image_and_holds_what_it_names() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == IMAGE
    manifest = json.loads(files["blobs/sha256/" + entry["digest"].partition(":")[2]])
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(files["blobs/sha256/" + layer["digest"].partition(":")[2]])) as tar:
        assert tar.getnames() == ["pause"]


def test_another_processor_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedMachine, match="riscv64"):
        program("riscv64")
