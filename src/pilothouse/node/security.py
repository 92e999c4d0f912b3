"""Security contexts of pod and container merged, checked against the image, and put the way CRI wants them."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.kinds.core.pod import Capabilities, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext
from pilothouse.node.wire import cri_pb2 as cri

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class RefusedConfiguration(Exception):
    """A container that may not be made as configured: it waits with reason CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class ImageUser:
    """The user an image runs as: `uid` when it is a number, else `name`; neither means root."""

    uid: int | None = None
    name: str = ""


def effective_user(pod: Pod, container: Container) -> tuple[int | None, int | None]:
    """runAsUser and runAsGroup, the container's before the pod's."""
    outer = pod.spec.security_context or PodSecurityContext()
    inner = container.security_context or SecurityContext()
    user = inner.run_as_user if inner.run_as_user is not None else outer.run_as_user
    group = inner.run_as_group if inner.run_as_group is not None else outer.run_as_group
    return user, group


def verify_non_root(pod: Pod, container: Container, image: ImageUser) -> None:
    """Raises RefusedConfiguration when runAsNonRoot asks for what cannot be shown to hold."""
    outer = pod.spec.security_context or PodSecurityContext()
    inner = container.security_context or SecurityContext()
    wanted = inner.run_as_non_root if inner.run_as_non_root is not None else outer.run_as_non_root
    if not wanted:
        return
    user, _ = effective_user(pod, container)
    if user is not None:
        if user == 0:
            raise RefusedConfiguration("container's runAsUser breaks non-root policy: it is 0; set another user")
        return
    if image.uid is None and image.name:
        raise RefusedConfiguration(
            f"container has runAsNonRoot and image has non-numeric user ({image.name}), cannot verify user is "
            "non-root: set runAsUser to its number"
        )
    if not image.uid:
        raise RefusedConfiguration(
            "container has runAsNonRoot and image will run as root: set runAsUser, or use an image with another user"
        )


def is_privileged(container: Container) -> bool:
    return bool(container.security_context is not None and container.security_context.privileged)


def any_privileged(pod: Pod) -> bool:
    return any(is_privileged(container) for container in [*pod.spec.containers, *pod.spec.init_containers])


def groups(pod: Pod) -> list[int]:
    """Supplemental groups, fsGroup among them."""
    context = pod.spec.security_context
    if context is None:
        return []
    return list(dict.fromkeys([*context.supplemental_groups, *([context.fs_group] if context.fs_group else [])]))


def namespaces(pod: Pod, target: str = "") -> cri.NamespaceOption:
    """Which namespaces the pod's containers share with the pod or the host.

    `target` is the runtime's id of the container whose processes an ephemeral container is to see.
    """
    spec = pod.spec
    if target and not (spec.host_pid or spec.share_process_namespace):
        network = cri.NODE if spec.host_network else cri.POD
        ipc = cri.NODE if spec.host_ipc else cri.POD
        return cri.NamespaceOption(network=network, pid=cri.TARGET, ipc=ipc, target_id=target)
    pid = cri.POD if spec.share_process_namespace else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if spec.host_network else cri.POD,
        pid=cri.NODE if spec.host_pid else pid,
        ipc=cri.NODE if spec.host_ipc else cri.POD,
    )


def sandbox_security(pod: Pod) -> cri.LinuxSandboxSecurityContext:
    """The sandbox's own context; it must be privileged for privileged containers to be allowed in it."""
    outer = pod.spec.security_context or PodSecurityContext()
    context = cri.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod),
        supplemental_groups=groups(pod),
        privileged=any_privileged(pod),
        seccomp=cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault),
    )
    if outer.run_as_user is not None:
        context.run_as_user.value = outer.run_as_user
        if outer.run_as_group is not None:
            context.run_as_group.value = outer.run_as_group
    return context


def container_security(
    pod: Pod, container: Container, image: ImageUser, seccomp_dir: str, target: str = ""
) -> cri.LinuxContainerSecurityContext:
    """The container's context. seccomp left unset by the pod becomes RuntimeDefault: for CRI, unset is unconfined."""
    verify_non_root(pod, container, image)
    inner = container.security_context or SecurityContext()
    privileged = bool(inner.privileged)
    context = cri.LinuxContainerSecurityContext(
        namespace_options=namespaces(pod, target),
        supplemental_groups=groups(pod),
        privileged=privileged,
        readonly_rootfs=bool(inner.read_only_root_filesystem),
        no_new_privs=inner.allow_privilege_escalation is False,
        seccomp=_seccomp(pod, inner, seccomp_dir),
    )
    if not privileged:
        context.masked_paths.extend(MASKED_PATHS)
        context.readonly_paths.extend(READONLY_PATHS)
    user, group = effective_user(pod, container)
    if user is None and group is not None:
        # The runtime refuses a group without a user, so the image's user is named.
        if image.name:
            context.run_as_username = image.name
        else:
            user = image.uid or 0
    if user is not None:
        context.run_as_user.value = user
    if group is not None:
        context.run_as_group.value = group
    if inner.capabilities is not None:
        context.capabilities.CopyFrom(_capabilities(inner.capabilities))
    _confine(context, pod, inner)
    return context


def _confine(context: cri.LinuxContainerSecurityContext, pod: Pod, inner: SecurityContext) -> None:
    """AppArmor and SELinux, where the pod names them; a host without them has refused the pod before."""
    outer = pod.spec.security_context or PodSecurityContext()
    profile = inner.app_armor_profile or outer.app_armor_profile
    if profile is not None:
        context.apparmor.CopyFrom(
            cri.SecurityProfile(profile_type=profile.type or "RuntimeDefault", localhost_ref=profile.localhost_profile)
        )
    options = inner.se_linux_options or outer.se_linux_options
    if options is not None and (options.user or options.role or options.type or options.level):
        context.selinux_options.CopyFrom(
            cri.SELinuxOption(user=options.user, role=options.role, type=options.type, level=options.level)
        )


def _capabilities(capabilities: Capabilities) -> cri.Capability:
    """CRI wants names without `CAP_`; with it they are ignored without a word."""
    return cri.Capability(
        add_capabilities=[name.upper().removeprefix("CAP_") for name in capabilities.add],
        drop_capabilities=[name.upper().removeprefix("CAP_") for name in capabilities.drop],
    )


def _seccomp(pod: Pod, inner: SecurityContext, seccomp_dir: str) -> cri.SecurityProfile:
    outer = pod.spec.security_context or PodSecurityContext()
    profile = inner.seccomp_profile or outer.seccomp_profile or SeccompProfile(type="RuntimeDefault")
    if inner.privileged or profile.type == "Unconfined":
        return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)
    if profile.type == "Localhost":
        return cri.SecurityProfile(
            profile_type=cri.SecurityProfile.Localhost, localhost_ref=f"{seccomp_dir}/{profile.localhost_profile}"
        )
    return cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
