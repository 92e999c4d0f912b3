"""Where a pod's files are on this node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the data directory."""

    root: Path

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def logs(self) -> Path:
        return self.root / "podlogs"

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def spec(self, uid: str) -> Path:
        """The pod as last seen, for a start without the API server."""
        return self.pod(uid) / "pod.json"

    def ended(self, uid: str) -> Path:
        """Why this node ended the pod, if it did."""
        return self.pod(uid) / "ended.json"

    def volumes_ready(self, uid: str) -> Path:
        """Marks that the pod's volumes were given to its group once; later it is the pod's business."""
        return self.pod(uid) / "volumes.ready"

    def volume(self, uid: str, name: str) -> Path:
        return self.pod(uid) / "volumes" / name

    def subpaths(self, uid: str) -> Path:
        return self.pod(uid) / "subpaths"

    def subpath(self, uid: str, container: str, index: int) -> Path:
        return self.subpaths(uid) / container / str(index)

    def image_view(self, uid: str, name: str) -> Path:
        """Marks that the runtime may hold a view for the pod's image volume of that name."""
        return self.pod(uid) / "image-views" / name

    def image_views(self, uid: str) -> list[Path]:
        return sorted((self.pod(uid) / "image-views").glob("*"))

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def message(self, uid: str, container: str, attempt: int) -> Path:
        """The file a container writes its termination message to."""
        return self.pod(uid) / "containers" / container / str(attempt)
