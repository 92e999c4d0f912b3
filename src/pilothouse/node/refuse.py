"""What this node cannot honour: such a pod is refused with the reason, because dropping a wish silently is worse.

Pure. The first reason found is given; the pod becomes Failed, as when upstream's kubelet does not admit one.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from pilothouse.kinds.core.bandwidth import bandwidth
from pilothouse.kinds.core.pod import Container, Pod, PodSecurityContext, SecurityContext, Volume
from pilothouse.kinds.view import api_name
from pilothouse.node.huge_pages import MEDIUM, PREFIX, page_size, resource_of
from pilothouse.node.plan import all_containers
from pilothouse.node.state import Refusal

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_VOLUME_SOURCES = (
    "empty_dir",
    "host_path",
    "config_map",
    "secret",
    "projected",
    "downward_api",
    "persistent_volume_claim",
    "ephemeral",
    "image",
    "csi",
)


_NO_PAGES = "this host has no such huge pages, or no hugetlb controller that bounds their use"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the host and the runtime can do."""

    apparmor: bool = False
    selinux: bool = False
    user_namespaces: bool = False
    recursive_read_only: bool = False
    seccomp_dir: str = ""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    huge_pages: tuple[int, ...] = ()
    """Sizes of huge pages of which containers can be held to a limit."""


def refusal(pod: Pod, abilities: Abilities) -> Refusal | None:
    """Why the pod cannot run here as it asks to, or None."""
    spec = pod.spec
    if spec.os is not None and spec.os.name not in ("", "linux"):
        return Refusal("PodOSNotSupported", f"spec.os.name is {spec.os.name!r}, and this node runs linux")
    if spec.host_users is False and not abilities.user_namespaces:
        return _cannot("spec.hostUsers: false (user namespaces)", "containerd 2.0 or later honours it")
    try:
        bandwidth(pod.metadata.annotations)
    except ValueError as error:
        return Refusal("InvalidBandwidth", str(error))
    reason = _sysctls(pod, abilities)
    if reason is not None:
        return reason
    for volume in spec.volumes:
        if all(getattr(volume, source) is None for source in _VOLUME_SOURCES):
            return _cannot(
                f"the type of volume {volume.name!r}", f"known are {', '.join(api_name(s) for s in _VOLUME_SOURCES)}"
            )
        reason = _volume(volume, pod, abilities)
        if reason is not None:
            return reason
    context = spec.security_context
    if context is not None:
        reason = _confinement("spec.securityContext", context, abilities)
        if reason is not None:
            return reason
        if context.supplemental_groups_policy == "Strict":
            return _cannot("spec.securityContext.supplementalGroupsPolicy: Strict", "the runtime only merges groups")
    for container in [*spec.init_containers, *spec.containers]:
        reason = _container(container, abilities)
        if reason is not None:
            return reason
    return None


def _container(container: Container, abilities: Abilities) -> Refusal | None:
    where = f"container {container.name!r}"
    context = container.security_context
    if context is not None:
        reason = _confinement(where, context, abilities)
        if reason is not None:
            return reason
        if context.proc_mount == "Unmasked" and not abilities.user_namespaces:
            return _cannot(f"{where}: procMount Unmasked", "it needs hostUsers: false, which the runtime lacks")
    for mount in container.volume_mounts:
        if mount.recursive_read_only == "Enabled" and not abilities.recursive_read_only:
            return _cannot(f"{where}: recursiveReadOnly of mount {mount.name!r}", "use IfPossible")
    resources = container.resources
    offered = {resource_of(size) for size in abilities.huge_pages}
    for name in {**resources.limits, **resources.requests} if resources is not None else {}:
        if name.startswith(PREFIX) and name not in offered:
            return _cannot(f"{where}: resource {name}", _NO_PAGES)
    return None


def _confinement(where: str, context: PodSecurityContext | SecurityContext, abilities: Abilities) -> Refusal | None:
    """Profiles that only a host with the security module can hold a container to."""
    profile = context.app_armor_profile
    if profile is not None and profile.type not in ("", "Unconfined") and not abilities.apparmor:
        return Refusal("AppArmor", f"{where}: appArmorProfile: this host has no AppArmor")
    options = context.se_linux_options
    if options is not None and (options.user or options.role or options.type) and not abilities.selinux:
        return _cannot(f"{where}: seLinuxOptions", "SELinux is not enabled on this host")
    return None


def without_effect(pod: Pod, abilities: Abilities) -> list[str]:
    """What the pod asks for that has no meaning here, and confines nothing that would otherwise be open: a level keeps
    apart what SELinux labels, and is in many charts and in upstream's tests of volumes."""
    contexts = [pod.spec.security_context, *(c.security_context for c in all_containers(pod))]
    levels = any(context is not None and context.se_linux_options is not None for context in contexts)
    return ["seLinuxOptions.level has no effect: SELinux is not enabled on this host"] * (
        levels and not abilities.selinux
    )


def _volume(volume: Volume, pod: Pod, abilities: Abilities) -> Refusal | None:
    if volume.empty_dir is None or volume.empty_dir.medium in ("", "Memory"):
        return None
    what = f"volume {volume.name!r}: emptyDir medium {volume.empty_dir.medium}"
    if not volume.empty_dir.medium.startswith(MEDIUM):
        return _cannot(what, "use Memory, HugePages or none")
    try:
        size = page_size(volume.empty_dir.medium, pod)
    except ValueError as error:
        return Refusal("InvalidHugePages", f"volume {volume.name!r}: {error}")
    if size not in abilities.huge_pages:
        return _cannot(what, _NO_PAGES)
    return None


def _sysctls(pod: Pod, abilities: Abilities) -> Refusal | None:
    context = pod.spec.security_context
    for sysctl in context.sysctls if context is not None else ():
        name = sysctl.name.replace("/", ".")
        allowed = name in SAFE_SYSCTLS or any(fnmatch.fnmatch(name, p) for p in abilities.allowed_unsafe_sysctls)
        if not allowed:
            return Refusal("SysctlForbidden", f"forbidden sysctl: {name!r} not allowlisted")
        if pod.spec.host_network and name.startswith("net."):
            return Refusal("SysctlForbidden", f"forbidden sysctl: {name!r} not allowed with host net enabled")
    return None


def _cannot(what: str, hint: str) -> Refusal:
    return Refusal("UnsupportedBySystem", f"this node cannot honour {what}: {hint}")
