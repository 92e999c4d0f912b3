"""The baseline level: no known ways to take over the host.

Source: Kubernetes documentation, "Pod Security Standards", Baseline, up to 1.35, and what each version of it says
(`pod-security.kubernetes.io/enforce-version`).
"""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.apiserver.admission.pod_security.control import (
    Check,
    Control,
    Subject,
    Violation,
    context_of,
    in_containers,
    listed,
)
from pilothouse.machinery.objects import Obj

_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SYSCTLS_SINCE: tuple[tuple[int, tuple[str, ...]], ...] = (
    (
        0,
        (
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.ping_group_range",
        ),
    ),
    (27, ("net.ipv4.ip_local_reserved_ports",)),
    (
        29,
        (
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
        ),
    ),
    (32, ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")),
)
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SECCOMP_OF_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def _host_namespaces(pod: Subject) -> Violation | None:
    used = [field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)]
    return Violation("host namespaces", ", ".join(f"{field}=true" for field in used)) if used else None


def _privileged(pod: Subject) -> Violation | None:
    names = [container.get("name", "") for container in pod.containers if context_of(container).get("privileged")]
    return in_containers("privileged", names, "must not set securityContext.privileged=true")


def _capabilities(pod: Subject) -> Violation | None:
    names, extra = [], set()
    for container in pod.containers:
        added = set((context_of(container).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES
        if added:
            names.append(container.get("name", ""))
            extra |= added
    shown = ", ".join(f'"{capability}"' for capability in sorted(extra))
    return in_containers(
        "non-default capabilities", names, f"must not include {shown} in securityContext.capabilities.add"
    )


def _host_path(pod: Subject) -> Violation | None:
    names = [volume.get("name", "") for volume in pod.spec.get("volumes") or () if "hostPath" in volume]
    return Violation("hostPath volumes", listed("volume", names)) if names else None


def _host_ports(pod: Subject) -> Violation | None:
    used = [
        (container.get("name", ""), port["hostPort"])
        for container in pod.containers
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    shown = ", ".join(str(port) for _, port in used)
    return in_containers("hostPort", [name for name, _ in used], f"uses hostPort {shown}")


def _host_process(pod: Subject) -> Violation | None:
    if (pod.context.get("windowsOptions") or {}).get("hostProcess"):
        return Violation("hostProcess", "pod must not set securityContext.windowsOptions.hostProcess=true")
    names = [
        container.get("name", "")
        for container in pod.containers
        if (context_of(container).get("windowsOptions") or {}).get("hostProcess")
    ]
    return in_containers("hostProcess", names, "must not set securityContext.windowsOptions.hostProcess=true")


def _app_armor(pod: Subject) -> Violation | None:
    found = [
        f"{where} must not set AppArmor profile type to Unconfined"
        for where, context in _contexts(pod)
        if (context.get("appArmorProfile") or {}).get("type") == "Unconfined"
    ]
    for key, value in pod.annotations.items():
        known = value in ("", "runtime/default") or value.startswith("localhost/")
        if key.startswith(_APPARMOR_ANNOTATION) and not known:
            found.append(f'annotation {key}="{value}" must be runtime/default or localhost/*')
    return Violation("forbidden AppArmor profile", "; ".join(found)) if found else None


def _selinux(allowed: frozenset[str]) -> Check:
    def check(pod: Subject) -> Violation | None:
        found = []
        for where, context in _contexts(pod):
            options = context.get("seLinuxOptions") or {}
            if options.get("type", "") not in allowed:
                found.append(f'{where} set forbidden securityContext.seLinuxOptions type "{options["type"]}"')
            found += [
                f"{where} must not set securityContext.seLinuxOptions {field}"
                for field in ("user", "role")
                if options.get(field)
            ]
        return Violation("seLinuxOptions", "; ".join(found)) if found else None

    return check


def proc_mount_by_default(pod: Subject) -> Violation | None:
    names = [
        container.get("name", "")
        for container in pod.containers
        if context_of(container).get("procMount", "Default") != "Default"
    ]
    return in_containers("procMount", names, "must not set securityContext.procMount to anything but Default")


def _proc_mount_of_own_users(pod: Subject) -> Violation | None:
    return None if pod.own_users else proc_mount_by_default(pod)


def _seccomp_annotations(pod: Subject) -> Violation | None:
    keys = [_SECCOMP_OF_POD, *(_SECCOMP_OF_CONTAINER + container.get("name", "") for container in pod.containers)]
    found = sorted(
        f'{key}="{pod.annotations[key]}"'
        for key in keys
        if key in pod.annotations
        and pod.annotations[key] not in ("runtime/default", "docker/default")
        and not pod.annotations[key].startswith("localhost/")
    )
    noun = "annotations" if len(found) > 1 else "annotation"
    return Violation("seccompProfile", f"forbidden {noun} {', '.join(found)}") if found else None


def _seccomp(pod: Subject) -> Violation | None:
    found = [
        f"{where} must not set securityContext.seccompProfile.type to Unconfined"
        for where, context in _contexts(pod)
        if (context.get("seccompProfile") or {}).get("type") == "Unconfined"
    ]
    return Violation("seccompProfile", "; ".join(found)) if found else None


def _sysctls(minor: int) -> Check:
    allowed = frozenset(name for since, names in _SYSCTLS_SINCE if since <= minor for name in names)

    def check(pod: Subject) -> Violation | None:
        used = [entry.get("name", "") for entry in pod.context.get("sysctls") or ()]
        used = [name for name in used if name not in allowed]
        return Violation("forbidden sysctls", ", ".join(used)) if used else None

    return check


def _probe_hosts(pod: Subject) -> Violation | None:
    names = [
        container.get("name", "")
        for container in pod.containers
        if any(action.get("host") for action in _actions(container))
    ]
    return in_containers("probe or lifecycle host", names, "must not set host in probes or lifecycle handlers")


def _contexts(pod: Subject) -> Iterator[tuple[str, Obj]]:
    yield "pod", pod.context
    for container in pod.containers:
        yield listed("container", [container.get("name", "")]), context_of(container)


def _actions(container: Obj) -> Iterator[Obj]:
    """The httpGet and tcpSocket parts of probes and lifecycle handlers."""
    handlers = [container.get(field) for field in ("livenessProbe", "readinessProbe", "startupProbe")]
    lifecycle = container.get("lifecycle") or {}
    handlers += [lifecycle.get(field) for field in ("postStart", "preStop")]
    for handler in handlers:
        for field in ("httpGet", "tcpSocket"):
            if handler and handler.get(field):
                yield handler[field]


capabilities = Control((0, _capabilities))
seccomp = Control((0, _seccomp_annotations), (19, _seccomp))
proc_mount = Control((0, proc_mount_by_default), (35, _proc_mount_of_own_users))
CONTROLS: tuple[Control, ...] = (
    Control((0, _host_process)),
    Control((0, _host_namespaces)),
    Control((0, _privileged)),
    capabilities,
    Control((0, _host_path)),
    Control((0, _host_ports)),
    Control((34, _probe_hosts)),
    Control((0, _app_armor)),
    Control((0, _selinux(_SELINUX_TYPES)), (31, _selinux(_SELINUX_TYPES | {"container_engine_t"}))),
    proc_mount,
    seccomp,
    Control(*((since, _sysctls(since)) for since, _ in _SYSCTLS_SINCE)),
)
