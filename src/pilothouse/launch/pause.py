"""The sandbox ("pause") image, made here: no registry is needed before the first pod starts.

Its one program holds the pod's namespaces open: it lets the kernel reap orphans (SIGCHLD ignored) and waits for ever.
The machine code is written out below because a fresh machine has no compiler and the program has two system calls.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile

IMAGE = "pilothouse.local/pause:1"

_ARCHITECTURES = {"x86_64": "amd64"}
MACHINES = tuple(_ARCHITECTURES)
"""The processors there is a program for, as `uname -m` names them."""


class UnsupportedMachine(Exception):
    """There is no pause program for this processor."""


def program(machine: str = "x86_64") -> bytes:
    """A static ELF executable: rt_sigaction(SIGCHLD, SIG_IGN), then pause() in a loop."""
    if machine not in _ARCHITECTURES:
        raise UnsupportedMachine(f"no sandbox program for {machine} yet: Pilothouse's engine runs on x86_64")
    before = bytes.fromhex(
        "b80d000000"  # mov eax, 13        rt_sigaction
        "bf11000000"  # mov edi, 17        SIGCHLD
        "488d35"  # lea rsi, [rip + …]     act
    )
    after = bytes.fromhex(
        "31d2"  # xor edx, edx             no old action
        "41ba08000000"  # mov r10d, 8      size of the signal set
        "0f05"  # syscall
        "b822000000"  # again: mov eax, 34 pause
        "0f05"  # syscall
        "ebf7"  # jmp again
    )
    code = before + struct.pack("<i", len(after)) + after
    act = struct.pack("<QQQQ", 1, 0, 0, 0)  # sa_handler = SIG_IGN, sa_flags, sa_restorer, sa_mask
    base, headers = 0x400000, 64 + 56
    size = headers + len(code) + len(act)
    ident = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    elf = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return elf + segment + code + act


def archive(machine: str = "x86_64") -> bytes:
    """The image as a tar of an OCI layout, as `ctr images import` takes it."""
    executable = program(machine)
    layer = _tar({"pause": (executable, 0o755)})
    config = _json(
        {
            "architecture": _ARCHITECTURES[machine],
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1"}
    files = {
        "oci-layout": (_json({"imageLayoutVersion": "1.0.0"}), 0o644),
        "index.json": (_json({"schemaVersion": 2, "manifests": [entry]}), 0o644),
    }
    for blob in (layer, config, manifest):
        files["blobs/sha256/" + hashlib.sha256(blob).hexdigest()] = (blob, 0o644)
    return _tar(files)


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _json(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
