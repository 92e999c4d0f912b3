"""Rules for security contexts of pods and containers. Source: Kubernetes' core validation of the same.

What would silently not be enforced is refused instead.
"""

from __future__ import annotations

import re

from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

MAX_ID = 2**31 - 1

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_CHANGE_POLICIES = ("Always", "OnRootMismatch")
_GROUP_POLICIES = ("Merge", "Strict")
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_IDS = ("runAsUser", "runAsGroup", "fsGroup")


def check_security_context(context: Obj, path: str, problems: Problems) -> None:
    """A container's security context."""
    _check_common(context, path, problems)
    if "procMount" in context:
        problems.one_of(f"{path}.procMount", context["procMount"], _PROC_MOUNTS)
    if context.get("allowPrivilegeEscalation") is not False:
        return
    if context.get("privileged"):
        problems.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
    added = (context.get("capabilities") or {}).get("add") or ()
    if "CAP_SYS_ADMIN" in added:
        problems.invalid(
            path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        )


def check_pod_security_context(context: Obj, path: str, problems: Problems) -> None:
    """A pod's security context."""
    _check_common(context, path, problems)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        problems.within(f"{path}.supplementalGroups[{index}]", group, 0, MAX_ID)
    if "fsGroupChangePolicy" in context:
        problems.one_of(f"{path}.fsGroupChangePolicy", context["fsGroupChangePolicy"], _CHANGE_POLICIES)
    if "supplementalGroupsPolicy" in context:
        problems.one_of(f"{path}.supplementalGroupsPolicy", context["supplementalGroupsPolicy"], _GROUP_POLICIES)
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        at, name = f"{path}.sysctls[{index}].name", sysctl.get("name") or ""
        if not name:
            problems.required(at)
        elif len(name) > 253 or _SYSCTL.fullmatch(name) is None:
            problems.invalid(at, name, f"must have at most 253 characters and match regex ^{_SYSCTL.pattern}$")
        elif name in seen:
            problems.duplicate(at, name)
        seen.add(name)


def _check_common(context: Obj, path: str, problems: Problems) -> None:
    for key in _IDS:
        if key in context:
            problems.within(f"{path}.{key}", context[key], 0, MAX_ID)
    for key in ("seccompProfile", "appArmorProfile"):
        if key in context:
            _check_profile(context[key], f"{path}.{key}", problems)
    if "windowsOptions" in context:
        problems.forbidden(f"{path}.windowsOptions", "Pilothouse runs Linux containers only")


def _check_profile(profile: Obj, path: str, problems: Problems) -> None:
    problems.one_of(f"{path}.type", profile.get("type"), _PROFILES)
    local = profile.get("localhostProfile")
    if profile.get("type") == "Localhost":
        if not local:
            problems.required(f"{path}.localhostProfile", "must be set when type is Localhost")
        elif local.startswith("/") or ".." in local.split("/"):
            problems.invalid(f"{path}.localhostProfile", local, "must be a relative path without '..'")
    elif local is not None:
        problems.invalid(f"{path}.localhostProfile", local, "may only be set when type is Localhost")
