"""Our own containerd: its configuration for the host it finds, and the sandbox image it needs before the first pod."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pilothouse.launch.config import Config
from pilothouse.launch.pause import IMAGE, archive
from pilothouse.linux.host import Host

CNI_BIN_DIR = "/usr/lib/cni"


class ContainerdError(Exception):
    """containerd cannot be set up; the message says what to do."""


def configuration(config: Config, host: Host) -> str:
    """The text of containerd's config.toml (version 2, containerd 1.6 and later).

    Every runtime found on the host gets a handler; whether it is offered to pods is decided by a test pod, not here.
    """
    directory = config.path("containerd")
    restrict = "CAP_SYS_RESOURCE" not in host.capabilities
    lines = [
        "version = 2",
        f'root = "{directory}/root"',
        f'state = "{directory}/state"',
        'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", '
        '"io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", '
        '"io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", '
        '"io.containerd.internal.v1.tracing"]',
        "[grpc]",
        f'address = "{config.containerd_socket}"',
        "uid = 0",
        "gid = 0",
        '[plugins."io.containerd.grpc.v1.cri"]',
        f'sandbox_image = "{IMAGE}"',
        "disable_tcp_service = true",
        'stream_server_address = "127.0.0.1"',
        'stream_server_port = "0"',
        f"restrict_oom_score_adj = {str(restrict).lower()}",
        f"disable_apparmor = {str(not host.apparmor).lower()}",
        f"enable_selinux = {str(host.selinux).lower()}",
        "tolerate_missing_hugetlb_controller = true",
        "disable_hugetlb_controller = false",
        "max_container_log_line_size = 16384",
        '[plugins."io.containerd.grpc.v1.cri".cni]',
        f'bin_dir = "{CNI_BIN_DIR}"',
        f'conf_dir = "{config.path("cni", "net.d")}"',
        "max_conf_num = 1",
        '[plugins."io.containerd.grpc.v1.cri".registry]',
        f'config_path = "{directory}/certs.d"',
        '[plugins."io.containerd.grpc.v1.cri".containerd]',
        'default_runtime_name = "runc"',
        'snapshotter = "overlayfs"',
        "discard_unpacked_layers = false",
    ]
    for handler, binary in runtime_binaries(config, host).items():
        table = f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{handler}'
        lines += [
            f"{table}]",
            'runtime_type = "io.containerd.runc.v2"',
            f"{table}.options]",
            f'BinaryName = "{binary}"',
            "SystemdCgroup = false",
        ]
    return "\n".join(lines) + "\n"


def runtime_binaries(config: Config, host: Host) -> dict[str, str]:
    """The handler names and programs of the OCI runtimes that work under containerd's runc shim.

    runsc is not among them: under the runc shim it has no network and never finishes starting, and its own shim is not
    packaged by Debian.
    """
    binaries: dict[str, str] = {name: host.programs[name] for name in ("runc", "crun") if name in host.programs}
    if "crun" in binaries and host.cgroup_mode == "hybrid":
        binaries["crun"] = str(config.path("containerd", "crun-hybrid"))
    return binaries


def write_configuration(config: Config, host: Host) -> Path:
    """Writes config.toml and what it refers to; raises ContainerdError when a needed program is missing."""
    for program, package in (("containerd", "containerd"), ("runc", "runc"), ("ctr", "containerd")):
        if program not in host.programs:
            raise ContainerdError(f"{program} is not installed: apt-get install {package}")
    directory = config.path("containerd")
    for part in ("root", "state", "certs.d"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
    for cni in ("net.d", "ipam"):
        config.path("cni", cni).mkdir(parents=True, exist_ok=True)
    if "crun" in host.programs and host.cgroup_mode == "hybrid":
        wrapper = directory / "crun-hybrid"
        text = _CRUN_HYBRID.format(crun=host.programs["crun"])
        if not wrapper.exists() or wrapper.read_text() != text:
            wrapper.write_text(text)
            wrapper.chmod(0o755)
    path = directory / "config.toml"
    path.write_text(configuration(config, host))
    return path


_CRUN_HYBRID = """#!/bin/sh
# crun refuses a host whose v2 hierarchy stands beside v1: it runs in a mount namespace of its own without that tree.
exec unshare --mount --propagation slave sh -c 'umount /sys/fs/cgroup/unified && exec {crun} "$@"' crun "$@"
"""


def import_pause_image(config: Config, host: Host) -> None:
    """Gives containerd the sandbox image. Raises ContainerdError."""
    ctr = [host.programs["ctr"], "-a", config.containerd_socket, "-n", "k8s.io", "images", "import", "-"]
    done = subprocess.run(ctr, input=archive(host.machine), capture_output=True, timeout=60)
    if done.returncode != 0:
        raise ContainerdError(f"containerd does not take the sandbox image: {done.stderr.decode()[-400:].strip()}")
