"""The restricted level: besides baseline, what hardening asks of every workload.

Source: Kubernetes documentation, "Pod Security Standards", Restricted, up to 1.35, and what each version of
it says.
"""

from __future__ import annotations

from pilothouse.apiserver.admission.pod_security import baseline
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

_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_SECCOMP = ("RuntimeDefault", "Localhost")


def _volume_types(pod: Subject) -> Violation | None:
    names, types = [], set()
    for volume in pod.spec.get("volumes") or ():
        other = [key for key in volume if key != "name" and key not in _VOLUMES]
        if other:
            names.append(volume.get("name", ""))
            types.update(other)
    shown = ", ".join(f'"{kind}"' for kind in sorted(types))
    detail = f"{listed('volume', names)} must not use volume types {shown}"
    return Violation("restricted volume types", detail) if names else None


def _privilege_escalation(pod: Subject) -> Violation | None:
    names = [
        container.get("name", "")
        for container in pod.containers
        if context_of(container).get("allowPrivilegeEscalation") is not False
    ]
    rule = "must set securityContext.allowPrivilegeEscalation=false"
    return in_containers("allowPrivilegeEscalation != false", names, rule)


def _dropped_capabilities(pod: Subject) -> Violation | None:
    not_dropping, adding = [], []
    for container in pod.containers:
        capabilities = context_of(container).get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            not_dropping.append(container.get("name", ""))
        if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
            adding.append(container.get("name", ""))
    rules = (
        (not_dropping, 'must set securityContext.capabilities.drop=["ALL"]'),
        (adding, 'must not include anything but "NET_BIND_SERVICE" in securityContext.capabilities.add'),
    )
    found = [f"{listed('container', names)} {rule}" for names, rule in rules if names]
    return Violation("unrestricted capabilities", "; ".join(found)) if found else None


def _non_root(pod: Subject) -> Violation | None:
    wanted = pod.context.get("runAsNonRoot")
    explicit = [c.get("name", "") for c in pod.containers if context_of(c).get("runAsNonRoot") is False]
    if explicit:
        return in_containers("runAsNonRoot != true", explicit, "must not set securityContext.runAsNonRoot=false")
    unset = [c.get("name", "") for c in pod.containers if context_of(c).get("runAsNonRoot") is None]
    if wanted or not unset:
        return None
    detail = f"pod or {listed('container', unset)} must set securityContext.runAsNonRoot=true"
    return Violation("runAsNonRoot != true", detail)


def _root_user(pod: Subject) -> Violation | None:
    names = [container.get("name", "") for container in pod.containers if context_of(container).get("runAsUser") == 0]
    found = ["pod must not set runAsUser=0"] if pod.context.get("runAsUser") == 0 else []
    if names:
        found.append(f"{listed('container', names)} must not set runAsUser=0")
    return Violation("runAsUser=0", "; ".join(found)) if found else None


def _confined_seccomp(pod: Subject) -> Violation | None:
    by_pod = _seccomp(pod.context)
    owns = [(container.get("name", ""), _seccomp(context_of(container))) for container in pod.containers]
    wrong = [name for name, own in owns if own is not None and own not in _SECCOMP]
    setters = ["pod"] if by_pod is not None and by_pod not in _SECCOMP else []
    setters += [listed("container", wrong)] if wrong else []
    if setters:
        values = {by_pod, *(own for _, own in owns)} - {None, *_SECCOMP}
        shown = ", ".join(f'"{value}"' for value in sorted(map(str, values)))
        rule = f"must not set securityContext.seccompProfile.type to {shown}"
        return Violation("seccompProfile", f"{' and '.join(setters)} {rule}")
    unset = [name for name, own in owns if own is None]
    if by_pod is not None or not unset:
        return None
    rule = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", f"pod or {listed('container', unset)} {rule}")


def _seccomp(context: Obj) -> str | None:
    """The profile's type, None where none is set."""
    kind: str | None = (context.get("seccompProfile") or {}).get("type")
    return kind


def _but_windows(check: Check) -> Check:
    return lambda pod: None if pod.windows else check(pod)


def _but_own_users(check: Check) -> Check:
    return lambda pod: None if pod.own_users else check(pod)


CONTROLS: tuple[Control, ...] = (
    Control((0, _volume_types)),
    Control((8, _privilege_escalation), (25, _but_windows(_privilege_escalation))),
    Control((22, _dropped_capabilities), (25, _but_windows(_dropped_capabilities)), replaces=baseline.capabilities),
    Control((35, baseline.proc_mount_by_default), replaces=baseline.proc_mount),
    Control((0, _non_root), (35, _but_own_users(_non_root))),
    Control((23, _root_user), (35, _but_own_users(_root_user))),
    Control((19, _confined_seccomp), (25, _but_windows(_confined_seccomp)), replaces=baseline.seccomp),
)
