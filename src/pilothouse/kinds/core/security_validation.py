"""Rules for security contexts of pods and containers. Source: Kubernetes' core validation of the same.

What would silently not be enforced is refused instead.
"""

from __future__ import annotations

import re

from pilothouse.kinds.core.volume_validation import check_descending_path
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

MAX_ID = 2**31 - 1

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_CHANGE_POLICIES = ("Always", "OnRootMismatch")
_GROUP_POLICIES = ("Merge", "Strict")
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_TOLD = _SYSCTL.pattern.replace("[./]", r"[\./]")
_LABEL_POLICIES = ("Recursive",)
_MOST_PROFILE = 4095


def check_security_context(context: Obj, path: str, problems: Problems) -> None:
    """A container's security context."""
    for key in ("runAsUser", "runAsGroup"):
        if key in context:
            problems.within(f"{path}.{key}", context[key], 0, MAX_ID)
    if "procMount" in context:
        problems.one_of(f"{path}.procMount", context["procMount"], _PROC_MOUNTS)
    if "seccompProfile" in context:
        _check_profile(context["seccompProfile"], "seccomp", f"{path}.seccompProfile", problems)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            problems.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        added = (context.get("capabilities") or {}).get("add") or ()
        if "CAP_SYS_ADMIN" in added:
            problems.invalid(
                path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            )
    _check_windows_and_app_armor(context, path, problems)


def check_pod_security_context(context: Obj, spec: Obj, path: str, problems: Problems) -> None:
    """The security context of a pod with this spec."""
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        if key in context:
            problems.within(f"{path}.{key}", context[key], 0, MAX_ID)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        problems.within(f"{path}.supplementalGroups[{index}]", group, 0, MAX_ID)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        problems.invalid(f"{path}.shareProcessNamespace", True, detail)
    _check_sysctls(context, path, problems)
    if (policy := context.get("fsGroupChangePolicy")) is not None and policy not in _CHANGE_POLICIES:
        problems.unsupported(f"{path}.fsGroupChangePolicy", policy, _CHANGE_POLICIES)
    if "seccompProfile" in context:
        _check_profile(context["seccompProfile"], "seccomp", f"{path}.seccompProfile", problems)
    _check_windows_and_app_armor(context, path, problems)
    for key, known in (("supplementalGroupsPolicy", _GROUP_POLICIES), ("seLinuxChangePolicy", _LABEL_POLICIES)):
        if (policy := context.get(key)) is not None and policy not in known:
            problems.unsupported(f"{path}.{key}", policy, known)


def _check_sysctls(context: Obj, path: str, problems: Problems) -> None:
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        at, name = f"{path}.sysctls[{index}].name", sysctl.get("name") or ""
        if not name:
            problems.required(at)
        elif len(name) > 253 or _SYSCTL.fullmatch(name) is None:
            problems.invalid(at, name, f"must have at most 253 characters and match regex ^{_SYSCTL_TOLD}$")
        elif name in seen:
            problems.duplicate(at, name)
        seen.add(name)


def _check_windows_and_app_armor(context: Obj, path: str, problems: Problems) -> None:
    if "windowsOptions" in context:
        problems.forbidden(f"{path}.windowsOptions", "Pilothouse runs Linux containers only")
    if "appArmorProfile" in context:
        _check_profile(context["appArmorProfile"], "AppArmor", f"{path}.appArmorProfile", problems)


def _check_profile(profile: Obj, what: str, path: str, problems: Problems) -> None:
    type_, local = profile.get("type") or "", profile.get("localhostProfile")
    if not type_:
        key = path.rpartition(".")[2]
        problems.required(f"{path}.type", f"type is required when {key} is set")
    elif type_ not in _PROFILES:
        problems.unsupported(f"{path}.type", type_, _PROFILES)
    at = f"{path}.localhostProfile"
    if type_ != "Localhost":
        if local is not None and (what == "seccomp" or type_ in _PROFILES):
            shown = profile if what == "seccomp" else local
            problems.invalid(at, shown, f"can only be set when {what} type is Localhost")
    elif local is None or (what == "AppArmor" and not local):
        problems.required(at, f"must be set when {what} type is Localhost")
    elif what == "seccomp":
        check_descending_path(local, at, problems)
    elif local != local.strip():
        problems.invalid(at, local, "must not be padded with whitespace")
    elif len(local) > _MOST_PROFILE:
        problems.too_long(at, _MOST_PROFILE)
