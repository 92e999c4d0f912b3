"""The CRI messages that make a pod's sandbox and its containers. Pure: what had to be looked up is passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from pilothouse.kinds.core.pod import Container, Pod, Sysctl
from pilothouse.node import huge_pages, labels
from pilothouse.node.environment import expand
from pilothouse.node.hashing import spec_hash
from pilothouse.node.names import Resolver, hostname
from pilothouse.node.resources import CPU_PERIOD_US, container_limits, oom_score_adj, resizable
from pilothouse.node.security import ImageUser, container_security, sandbox_security
from pilothouse.node.swap import NOTHING_SHARED, HostSwap, swap_bytes
from pilothouse.node.wire import cri_pb2 as cri

_PROTOCOLS = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
_PROPAGATION = {
    None: cri.PROPAGATION_PRIVATE,
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class BindMount:
    """A directory or file of the host that a container sees."""

    host_path: str
    container_path: str
    read_only: bool = False
    propagation: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """What the node adds to every pod: names, paths, and the host's measure."""

    domain: str
    log_root: str
    cgroup_parent: str
    memory_capacity: int
    seccomp_dir: str = ""
    huge_pages: tuple[int, ...] = ()
    """Sizes that the node offers: containers are held to what they have a limit for, and else to none."""
    swap: HostSwap = NOTHING_SHARED


def log_directory(root: str, namespace: str, name: str, uid: str) -> str:
    return f"{root}/{namespace}_{name}_{uid}"


def sandbox_config(pod: Pod, attempt: int, resolver: Resolver, placement: Placement) -> cri.PodSandboxConfig:
    """The configuration of the pod's sandbox."""
    meta = pod.metadata
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=meta.name, namespace=meta.namespace, uid=meta.uid, attempt=attempt),
        # A pod in the host's network has no UTS namespace of its own that could be named.
        hostname="" if pod.spec.host_network else hostname(pod, placement.domain),
        log_directory=log_directory(placement.log_root, meta.namespace, meta.name, meta.uid),
        dns_config=cri.DNSConfig(servers=resolver.servers, searches=resolver.searches, options=resolver.options),
        labels={
            **meta.labels,
            labels.POD_NAME: meta.name,
            labels.POD_NAMESPACE: meta.namespace,
            labels.POD_UID: meta.uid,
        },
        annotations={labels.CONFIG_SOURCE: "api"},
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=placement.cgroup_parent,
            security_context=sandbox_security(pod),
            sysctls={s.name.replace("/", "."): s.value for s in _sysctls(pod)},
        ),
    )
    for container in pod.spec.containers:
        for port in container.ports:
            if port.host_port and not pod.spec.host_network:
                config.port_mappings.add(
                    protocol=_PROTOCOLS.get(port.protocol, cri.TCP),
                    container_port=port.container_port,
                    host_port=port.host_port,
                    host_ip=port.host_ip,
                )
    return config


def _sysctls(pod: Pod) -> Sequence[Sysctl]:
    context = pod.spec.security_context
    return context.sysctls if context is not None else ()


def container_config(
    pod: Pod,
    container: Container,
    attempt: int,
    *,
    image_id: str,
    image_ref: str,
    image_user: ImageUser,
    environment: Mapping[str, str],
    mounts: Sequence[BindMount],
    placement: Placement,
    target: str = "",
) -> cri.ContainerConfig:
    """The configuration of one attempt at a container. Raises RefusedConfiguration."""
    limits, swap = container_limits(container), swap_bytes(pod, container, placement.swap)
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container.name, attempt=attempt),
        image=cri.ImageSpec(image=image_id, user_specified_image=container.image),
        command=[expand(word, environment) for word in container.command],
        args=[expand(word, environment) for word in container.args],
        working_dir=container.working_dir,
        envs=[
            cri.KeyValue(key=key, value=value.encode("utf-8", "surrogateescape")) for key, value in environment.items()
        ],
        mounts=[
            cri.Mount(
                container_path=mount.container_path,
                host_path=mount.host_path,
                readonly=mount.read_only,
                propagation=_PROPAGATION[mount.propagation],
            )
            for mount in mounts
        ],
        labels={
            labels.POD_NAME: pod.name,
            labels.POD_NAMESPACE: pod.namespace,
            labels.POD_UID: pod.metadata.uid,
            labels.CONTAINER_NAME: container.name,
        },
        annotations={
            labels.CONTAINER_HASH: spec_hash(container),
            labels.RESTART_COUNT: str(attempt),
            labels.MESSAGE_PATH: container.termination_message_path,
            labels.MESSAGE_POLICY: container.termination_message_policy,
            labels.IMAGE_ID: image_ref,
            labels.RESOURCES: orjson.dumps(resizable(container)).decode(),
        },
        log_path=f"{container.name}/{attempt}.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        linux=cri.LinuxContainerConfig(
            resources=cri.LinuxContainerResources(
                cpu_period=CPU_PERIOD_US,
                cpu_quota=limits.cpu_quota_us,
                cpu_shares=limits.cpu_shares,
                memory_limit_in_bytes=limits.memory_bytes,
                memory_swap_limit_in_bytes=limits.memory_bytes + swap if limits.memory_bytes else 0,
                unified={"memory.swap.max": str(swap)} if placement.swap.swap else {},
                hugepage_limits=[
                    cri.HugepageLimit(page_size=unit, limit=bound)
                    for unit, bound in huge_pages.limits(container, placement.huge_pages)
                ],
                oom_score_adj=oom_score_adj(pod, container, placement.memory_capacity),
            ),
            security_context=container_security(pod, container, image_user, placement.seccomp_dir, target),
        ),
    )
