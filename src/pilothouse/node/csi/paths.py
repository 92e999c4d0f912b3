"""Where volumes of drivers are mounted, and what is kept of each. The paths are upstream's: drivers know them.

What is kept is written before the driver is asked, and removed after it has undone it: whatever is killed in between,
nothing is mounted that is not on record.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pilothouse.linux.mounts import unmount_below

_PLUGIN = "kubernetes.io~csi"
_DATA = "vol_data.json"
_DEVICES = "volumeDevices"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept beside a mount. Names are those of upstream's `vol_data.json`."""

    driver: str = msgspec.field(name="driverName")
    handle: str = msgspec.field(name="volumeHandle")
    name: str = msgspec.field(name="specVolID", default="")
    """Of the PersistentVolume, or of the pod's volume when it ends with the pod."""
    node: str = msgspec.field(name="nodeName", default="")
    attachment: str = msgspec.field(name="attachmentID", default="")
    mode: str = msgspec.field(name="volumeLifecycleMode", default="")
    kept_by: str = msgspec.field(name="keptBy", default="")
    block: bool = False


_US = "pilothouse"
"""Who kept a record. Those of another kubelet that has the same root are none of our business."""
_RECORD = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class CsiLayout:
    """Paths below a kubelet's root as drivers expect it."""

    root: Path

    @property
    def registry(self) -> Path:
        return self.root / "plugins_registry"

    @property
    def plugins(self) -> Path:
        return self.root / "plugins"

    @property
    def _csi(self) -> Path:
        return self.plugins / "kubernetes.io" / "csi"

    def staging(self, record: Record) -> Path:
        """Where the driver mounts the volume once for all pods."""
        if record.block:
            return self._csi / _DEVICES / "staging" / record.name
        return self._csi / record.driver / hashlib.sha256(record.handle.encode()).hexdigest() / "globalmount"

    def staged_data(self, record: Record) -> Path:
        if record.block:
            return self._csi / _DEVICES / record.name / "data" / _DATA
        return self.staging(record).parent / _DATA

    def target(self, uid: str, record: Record) -> Path:
        """Where the pod's own mount, or its device, is."""
        if record.block:
            return self._csi / _DEVICES / "publish" / record.name / uid
        return self.root / "pods" / uid / "volumes" / _PLUGIN / record.name / "mount"

    def target_data(self, uid: str, record: Record) -> Path:
        kind = "volumeDevices" if record.block else "volumes"
        return self.root / "pods" / uid / kind / _PLUGIN / record.name / _DATA

    def pods(self) -> list[str]:
        """The uids of pods that anything is kept of."""
        return [path.name for path in _children(self.root / "pods")]

    def published(self, uid: str) -> list[Record]:
        """What is, or may be, mounted for a pod."""
        kinds = [self.root / "pods" / uid / kind / _PLUGIN for kind in ("volumes", "volumeDevices")]
        return _read(volume / _DATA for kind in kinds for volume in _children(kind))

    def staged(self) -> list[Record]:
        """What is, or may be, mounted for all pods together."""
        volumes = [volume for driver in _children(self._csi) if driver.name != _DEVICES for volume in _children(driver)]
        devices = [volume / "data" for volume in _children(self._csi / _DEVICES)]
        return _read(directory / _DATA for directory in (*volumes, *devices))

    def users(self, record: Record) -> bool:
        """Whether a pod has the staged volume."""
        same = (record.driver, record.handle, record.block)
        return any(
            (found.driver, found.handle, found.block) == same for uid in self.pods() for found in self.published(uid)
        )

    def unmount(self) -> None:
        """Takes away everything that drivers mounted for pods, without asking them. Raises OSError."""
        for uid in self.pods():
            for record in self.published(uid):
                unmount_below(self.target(uid, record))
        for record in self.staged():
            unmount_below(self.staging(record))

    def forget_all(self) -> None:
        """Removes all records, once nothing is mounted. Raises OSError."""
        for uid in self.pods():
            for record in self.published(uid):
                forget(self.target(uid, record), self.target_data(uid, record))
            self.forget_pod(uid)
        for record in self.staged():
            forget(self.staging(record), self.staged_data(record))

    def forget_pod(self, uid: str) -> None:
        """Removes the directories of a pod that has nothing mounted any more."""
        base = self.root / "pods" / uid
        for kind in ("volumes", "volumeDevices"):
            for path in (base / kind / _PLUGIN, base / kind):
                with contextlib.suppress(OSError):
                    path.rmdir()
        with contextlib.suppress(OSError):
            base.rmdir()


def keep(path: Path, record: Record) -> None:
    """Writes a record; it is there whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, kept_by=_US)))
    fresh.replace(path)


def forget(mounted: Path, data: Path) -> None:
    """Removes what was mounted on, then the record, then their directory. Raises OSError when something is in it."""
    if mounted.is_dir():
        mounted.rmdir()
    else:
        mounted.unlink(missing_ok=True)
    data.unlink(missing_ok=True)
    for path in (mounted.parent, data.parent, data.parent.parent):
        with contextlib.suppress(OSError):
            path.rmdir()


def _children(directory: Path) -> list[Path]:
    """In order; none of a directory that is gone, as others remove them at any moment."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(directory.iterdir())
    return []


def _read(paths: Iterable[Path]) -> list[Record]:
    found = []
    for path in paths:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            record = _RECORD.decode(path.read_bytes())
            if record.kept_by == _US:
                found.append(msgspec.structs.replace(record, kept_by=""))
    return found
