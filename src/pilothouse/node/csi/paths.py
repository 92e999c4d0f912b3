"""Where volumes of drivers are mounted, and what is kept of each. The paths are upstream's: drivers know them.

What is kept is written before the driver is asked, and removed after it has undone it: whatever is killed in between,
nothing is mounted that is not on record.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pilothouse.linux.mounts import unmount_below

_PLUGIN = "kubernetes.io~csi"
_DATA = "vol_data.json"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept beside a mount. Names are those of upstream's `vol_data.json`."""

    driver: str = msgspec.field(name="driverName")
    handle: str = msgspec.field(name="volumeHandle")
    name: str = msgspec.field(name="specVolID", default="")
    """Of the PersistentVolume, or of the pod's volume when it ends with the pod."""
    node: str = msgspec.field(name="nodeName", default="")
    attachment: str = msgspec.field(name="attachmentID", default="")
    mode: str = msgspec.field(name="volumeLifecycleMode", default="")
    block: bool = False


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
            return self._csi / "volumeDevices" / "staging" / record.name
        return self._csi / record.driver / hashlib.sha256(record.handle.encode()).hexdigest() / "globalmount"

    def staged_data(self, record: Record) -> Path:
        if record.block:
            return self._csi / "volumeDevices" / record.name / "data" / _DATA
        return self.staging(record).parent / _DATA

    def target(self, uid: str, record: Record) -> Path:
        """Where the pod's own mount, or its device, is."""
        if record.block:
            return self._csi / "volumeDevices" / "publish" / record.name / uid
        return self.root / "pods" / uid / "volumes" / _PLUGIN / record.name / "mount"

    def target_data(self, uid: str, record: Record) -> Path:
        kind = "volumeDevices" if record.block else "volumes"
        return self.root / "pods" / uid / kind / _PLUGIN / record.name / _DATA

    def pods(self) -> list[str]:
        """The uids of pods that anything is kept of."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in (self.root / "pods").iterdir())
        return []

    def published(self, uid: str) -> list[Record]:
        """What is, or may be, mounted for a pod."""
        directory = self.root / "pods" / uid
        return list(_read(directory.glob(f"volume*/{_PLUGIN}/*/{_DATA}")))

    def staged(self) -> list[Record]:
        """What is, or may be, mounted for all pods together."""
        return [
            *_read(path for path in self._csi.glob(f"*/*/{_DATA}") if path.parent.parent.name != "volumeDevices"),
            *_read(self._csi.glob(f"volumeDevices/*/data/{_DATA}")),
        ]

    def users(self, record: Record) -> bool:
        """Whether a pod has the staged volume."""
        same = (record.driver, record.handle, record.block)
        return any(
            (found.driver, found.handle, found.block) == same for uid in self.pods() for found in self.published(uid)
        )

    def unmount(self) -> None:
        """Takes away everything that drivers mounted for pods, without asking them. Raises OSError."""
        for directory in (self.root / "pods", self._csi):
            unmount_below(directory)

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
    fresh.write_bytes(msgspec.json.encode(record))
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


def _read(paths: Iterator[Path]) -> Iterator[Record]:
    for path in paths:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            yield _RECORD.decode(path.read_bytes())
