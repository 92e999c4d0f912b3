"""What is wrong with an image beside its packages: secrets, private keys, setuid files, a root user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.images.model import Inventory, Trace

SECRET: Final = Check(
    "image-secret",
    "Image holds a secret",
    Severity.HIGH,
    "security",
    "Whoever can pull the image can read it, also when a later layer removes the file.",
    "# take the secret back, and build again without it; give it at run time\n"
    "RUN --mount=type=secret,id=token …   # during the build\n"
    "env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: app, key: token}}}]",
    "CIS Docker Benchmark 4.10; NIST SP 800-190 4.1.4",
)
PRIVATE_KEY: Final = Check(
    "image-private-key",
    "Image holds a private key",
    Severity.HIGH,
    "security",
    "Whoever can pull the image has the key, also when a later layer removes the file.",
    "# take the key out of use, and mount its successor from a Secret",
    "CIS Docker Benchmark 4.10; NIST SP 800-190 4.1.4",
)
SETUID: Final = Check(
    "image-setuid",
    "Image has setuid or setgid programs",
    Severity.LOW,
    "security",
    "They give rights that the container's user does not have; a flaw in one of them gives them to an intruder.",
    "RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +\n# and in the pod: allowPrivilegeEscalation: false",
    "CIS Docker Benchmark 4.8",
)
ROOT_USER: Final = Check(
    "image-root-user",
    "Image runs as root",
    Severity.MEDIUM,
    "security",
    "Unless the pod says otherwise its processes are root, and a way out of the container begins there.",
    "USER 10001:10001   # in the Dockerfile; a number, so that runAsNonRoot can be checked",
    "CIS Docker Benchmark 4.1; NSA/CISA Kubernetes Hardening Guidance",
)
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Weakness:
    """One thing that is wrong; `layer` is -1 when it is of the image as a whole."""

    check: Check
    message: str
    path: str = ""
    layer: int = -1


def weaknesses(inventory: Inventory) -> list[Weakness]:
    """All of an image, worst first."""
    if inventory.kind != "image":
        return []
    found: dict[tuple[str, str], Weakness] = {}
    setuid: list[tuple[Trace, int]] = []
    for trace, layer in inventory.traces:
        if trace.kind == "setuid":
            setuid.append((trace, layer))
            continue
        check = PRIVATE_KEY if trace.kind == "private-key" else SECRET
        found[check.id, trace.path] = Weakness(check, f"{trace.path} holds {trace.detail}", trace.path, layer)
    result = list(found.values())
    user = inventory.user.partition(":")[0]
    if user in ("", "0", "root"):
        result.append(Weakness(ROOT_USER, "runs as root unless the pod says otherwise"))
    if setuid:
        names = sorted({f"/{trace.path}" for trace, _ in setuid})
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        result.append(Weakness(SETUID, f"setuid or setgid: {', '.join(names[:_SHOWN])}{more}"))
    return sorted(result, key=lambda weakness: -weakness.check.severity)
