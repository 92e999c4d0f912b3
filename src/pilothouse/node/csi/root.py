"""The directory drivers mount below, made so that what one mounts in its own pod reaches the host and the other pods.

Where the file system that holds it is not shared between mount namespaces (systemd makes all of them so; other hosts
do not), the directory becomes a shared mount of its own. A note says so, for `down` to take that mount away.
"""

from __future__ import annotations

from pathlib import Path

from pilothouse.linux.mounts import is_shared, share, unmount_top
from pilothouse.node.csi.paths import CsiLayout

_NOTE = Path("node", "csi-root")


def prepare(layout: CsiLayout, data_dir: Path) -> None:
    """Makes the directories and has them shared. Raises OSError."""
    for path in (layout.root, layout.plugins, layout.root / "pods"):
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    if is_shared(layout.root):
        return
    note = data_dir / _NOTE
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(layout.root))
    share(layout.root)


def give_back(data_dir: Path) -> None:
    """Takes the mount that `prepare` made away. Raises OSError."""
    note = data_dir / _NOTE
    if not note.exists():
        return
    root = Path(note.read_text())
    if is_shared(root):
        unmount_top(root)
    note.unlink()
