"""How volumes and claims show their size and access modes."""

from __future__ import annotations

from pilothouse.machinery.objects import Obj

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def access_modes(tree: Obj) -> str:
    """`RWO,ROX`, from `accessModes`."""
    modes = tree.get("accessModes") or ()
    return ",".join(short for mode, short in _SHORT.items() if mode in modes)


def capacity(tree: Obj) -> str:
    """The `storage` of `capacity`."""
    return str((tree.get("capacity") or {}).get("storage", ""))


def phase(obj: Obj) -> str:
    """The phase of the status, or `Terminating` once deletion was asked for."""
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase") or "")
