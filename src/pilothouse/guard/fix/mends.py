"""What mends a finding, or why nothing does. Pure.

A mend adds what is missing, never overwrites what somebody wrote (but for API versions that say the same in other words
and a field's old name), and tells what a program might notice. Weighed in docs/decisions/0047.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pilothouse.guard.finding import Finding
from pilothouse.guard.fix.changes import Add, Change, Path, Rename, Replace, at, mapping_at, parse_path
from pilothouse.guard.fix.versions import lossless
from pilothouse.guard.podspec import pod_spec
from pilothouse.machinery.objects import Obj


class Mend(NamedTuple):
    """`said` is what it does; `note` is what might be noticed, "" for nothing."""

    changes: tuple[Change, ...]
    said: str
    note: str = ""


NEEDS_DECISION: Final = "needs a decision"
"""Why most findings have no mend: what to write is not to be known from the file."""
_BY_HAND: Final = "is written so; change it by hand if it is not meant"
_ROLLS: Final = "programs that gain rights by setuid or file capabilities (sudo, su, some ping) can no longer do so"
_SYSCALLS: Final = "system calls outside the runtime's default profile (mount, ptrace of others, keyctl …) are refused"


def mend_of(finding: Finding, tree: Obj) -> Mend | str:
    """The mend of a finding in its object's tree, or the reason why there is none."""
    make = _MENDS.get(finding.check.id)
    return make(finding, tree) if make is not None else NEEDS_DECISION


def _escalation(finding: Finding, tree: Obj) -> Mend | str:
    place = _context(finding)
    given = mapping_at(tree, place)
    if given.get("allowPrivilegeEscalation") is not None:
        return f"allowPrivilegeEscalation {_BY_HAND}"
    if refused := _beyond(given):
        return f"the API refuses allowPrivilegeEscalation: false for a container {refused}"
    added = Add((*place, "allowPrivilegeEscalation"), False)
    return Mend((added,), "sets allowPrivilegeEscalation: false", _ROLLS)


def _seccomp(finding: Finding, tree: Obj) -> Mend | str:
    place = _context(finding)
    given = mapping_at(tree, place)
    if given.get("seccompProfile") is not None:
        return f"seccompProfile {_BY_HAND}"
    if given.get("privileged"):
        return "a privileged container runs without seccomp whatever is written"
    added = Add((*place, "seccompProfile"), {"type": "RuntimeDefault"})
    return Mend((added,), "sets seccompProfile: RuntimeDefault", _SYSCALLS)


def _capabilities(finding: Finding, tree: Obj) -> Mend | str:
    """Dropped where the process has none: it is not root and may not gain any."""
    place = _context(finding)
    given = mapping_at(tree, place)
    known = mapping_at(given, ("capabilities",))
    said = "drops all capabilities, of which it can have none"
    if known.get("drop") == ["ALL"]:
        return Mend((), said)  # a mend of this very run did it, for another check: the finding says that nobody had
    if known.get("add") or known.get("drop"):
        return f"capabilities {_BY_HAND}"
    if given.get("privileged") or given.get("allowPrivilegeEscalation") is not False:
        return "a container that may gain privileges may need capabilities"
    if not _never_root(given, tree):
        return "a container that may run as root may need capabilities (chown, setuid, ports below 1024)"
    return Mend((Add((*place, "capabilities", "drop"), ["ALL"]),), said)


def _token(finding: Finding, tree: Obj) -> str:
    return "a program that asks the API would lose its token: set automountServiceAccountToken: false if none does"


def _old_name(finding: Finding, tree: Obj) -> Mend | str:
    path = parse_path(finding.field)
    if path[-1] != "serviceAccount" or not isinstance(at(tree, path), str):
        return NEEDS_DECISION
    return Mend((Rename(path, "serviceAccountName"),), "writes serviceAccount as serviceAccountName")


def _version(finding: Finding, tree: Obj) -> Mend | str:
    found = lossless(tree)
    if isinstance(found, str):
        return found
    return Mend((Replace(("apiVersion",), found.version),), f"writes apiVersion: {found.version}, which says the same")


_MENDS: Final[Mapping[str, Callable[[Finding, Obj], Mend | str]]] = {
    "container-privilege-escalation": _escalation,
    "container-seccomp-missing": _seccomp,
    "container-capabilities-kept": _capabilities,
    "container-net-raw": _capabilities,
    "pod-token-mounted": _token,
    "service-account-token-mounted": _token,
    "pod-deprecated-service-account": _old_name,
    "api-version-removed": _version,
    "api-version-deprecated": _version,
}
ORDER: Final[Mapping[str, int]] = {check: number for number, check in enumerate(_MENDS)}
"""In which order mends are made: capabilities are dropped where escalation is off, which may be a mend itself."""


def _context(finding: Finding) -> Path:
    """The path of a container's securityContext, from that of one of its fields."""
    path = parse_path(finding.field)
    return path[: path.index("securityContext") + 1]


def _beyond(context: Obj) -> str:
    """Why no_new_privs cannot go with what else is written, "" if it can."""
    if context.get("privileged"):
        return "that is privileged"
    added = mapping_at(context, ("capabilities",)).get("add")
    return "with SYS_ADMIN" if isinstance(added, list) and {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(added) else ""


def _never_root(context: Obj, tree: Obj) -> bool:
    """Whether the container's user is not root, by itself or by its pod."""
    pod = pod_spec(tree)
    of_pod = mapping_at(pod.spec if pod else {}, ("securityContext",))
    user = context.get("runAsUser", of_pod.get("runAsUser"))
    if user is not None:
        return isinstance(user, int) and user > 0
    return context.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is True
