"""What the tests of streams share: pods made through CRI, certificates, a client of the node's API."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import ssl
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import WSMsgType
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.config import Config
from pilothouse.linux.cgroups import Cgroups
from pilothouse.node.api.server import NodeApi
from pilothouse.node.cri import Runtime
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.state import ContainerState, Phase, PodState, PodTable, SandboxState
from pilothouse.node.wire import cri_pb2 as cri

POD_RANGE = IPv4Network("10.231.2.0/24")
IMAGE = "example.test/busybox:streams"
SLEEP = ["/usr/bin/sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


@dataclass
class Containerd:
    """A running containerd with a pod network and one image."""

    root: Path
    config: Config

    def ctr(self, *words: str, data: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = ["ctr", "-a", self.config.containerd_socket, "-n", "k8s.io", *words]
        return subprocess.run(command, input=data, capture_output=True, check=check, timeout=60)


def end_shims(root: Path) -> None:
    """Ends the shims of this containerd only: they name its socket."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and any(str(root).encode() in word for word in words):
                os.kill(int(entry.parent.name), signal.SIGKILL)


@dataclass
class Certificates:
    """A cluster CA, and files for each name it has signed."""

    directory: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
        self.name = name
        self.authority = self.directory / "ca.crt"
        builder = self._builder(name, self.key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self._write(self.authority, builder.sign(self.key, hashes.SHA256()))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    @staticmethod
    def _write(path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        addresses = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        certificate = self._builder(subject, key).add_extension(addresses, critical=False)
        base = name.replace(":", "-")
        crt, pem = self.directory / f"{base}.crt", self.directory / f"{base}.key"
        self._write(crt, certificate.sign(self.key, hashes.SHA256()))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pem.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return crt, pem

    def client(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(*self.issue(name))
        return context


@dataclass
class Bench:
    """The node's API over pods made by hand."""

    containerd: Containerd
    runtime: Runtime
    pods: PodTable
    api: NodeApi
    certificates: Certificates
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.api.port}"

    async def pod(self, name: str, command: list[str], **options: Any) -> PodState:
        """A pod of one running container `main`."""
        uid = str(uuid.uuid4())
        pod = Pod()
        pod.metadata.uid, pod.metadata.name, pod.metadata.namespace = uid, name, "default"
        root = self.containerd.config.cgroup_root
        parent = cgroup_parent(root, pod)
        Cgroups().create(parent)
        logs = self.containerd.root / "podlogs" / f"default_{name}_{uid}"
        (logs / "main").mkdir(parents=True)
        config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=uid, namespace="default"),
            hostname=name,
            log_directory=str(logs),
            linux=cri.LinuxPodSandboxConfig(cgroup_parent=parent),
        )
        sandbox = await self.runtime.run_sandbox(config)
        status, netns = await self.runtime.sandbox_status(sandbox)
        state = PodState(uid, "default", name, pod=pod)
        state.sandbox = SandboxState(sandbox, ip=status.network.ip, netns=netns, created_at=time.time())
        self.pods.add(state)
        container = await self.runtime.create_container(
            sandbox,
            cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name="main"),
                image=cri.ImageSpec(image=IMAGE),
                command=command,
                log_path="main/0.log",
                **options,
            ),
            config,
        )
        await self.runtime.start_container(container)
        state.containers["main"] = ContainerState(
            "main", container, phase=Phase.RUNNING, started_at=time.time(), log_path=str(logs / "main" / "0.log")
        )
        return state

    async def remove(self, state: PodState) -> None:
        assert state.sandbox is not None
        assert state.pod is not None
        await self.runtime.stop_sandbox(state.sandbox.id)
        await self.runtime.remove_sandbox(state.sandbox.id)
        Cgroups().remove(cgroup_parent(self.containerd.config.cgroup_root, state.pod))
        self.pods.remove(state.uid)

    def connect(self, path: str, protocol: str, **query: Any) -> Any:
        pairs = [
            (name, item) for name, value in query.items() for item in (value if isinstance(value, list) else [value])
        ]
        return self.session.ws_connect(self.url + path, params=pairs, protocols=[protocol], max_msg_size=0)


@dataclass
class Outcome:
    stdout: bytes
    stderr: bytes
    status: dict[str, Any]

    @property
    def exit_code(self) -> int:
        if self.status.get("status") == "Success":
            return 0
        return int(self.status["details"]["causes"][0]["message"])


async def collect(socket: Any) -> Outcome:
    """Reads until the server closes."""
    parts: dict[int, bytearray] = {1: bytearray(), 2: bytearray(), 3: bytearray()}
    async for message in socket:
        assert message.type is WSMsgType.BINARY
        parts[message.data[0]] += message.data[1:]
    return Outcome(bytes(parts[1]), bytes(parts[2]), orjson.loads(bytes(parts[3])) if parts[3] else {})
