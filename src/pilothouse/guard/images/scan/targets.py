"""What a target on the command line is: an SBOM, an archive, a folder, or an image in a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.guard.images.inventory.directory import directory_inventory, lockfile_reader
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.sbom import is_sbom, sbom_inventory
from pilothouse.guard.images.model import Inventory, NotReadable, Placed
from pilothouse.guard.images.scan.inventory import Progress, Records, take_inventory
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.archive import images_in, is_layout
from pilothouse.guard.images.source.image import Image, host_platform
from pilothouse.guard.images.source.reference import parse


@dataclass(slots=True)
class Inventories:
    """Takes the inventories of targets. `plain` names registries that are spoken to without TLS."""

    reader: LayerReader
    cache: Records
    platform: str = field(default_factory=host_platform)
    plain: Sequence[str] = ()
    docker_config: Path = field(default_factory=lambda: Path.home() / ".docker" / "config.json")
    progress: Progress = lambda layer, done, number: None

    def of(self, target: str) -> Iterator[Inventory]:
        """What a target holds. Raises NotReadable, OSError."""
        path = Path(target)
        if path.is_dir() and not is_layout(path):
            yield directory_inventory(path)
        elif path.is_file() and (single := self._of_file(path)) is not None:
            yield single
        elif path.exists():
            for image in images_in(path, self.platform, Limits()):
                yield take_inventory(image, self.reader, self.cache, self.progress)
        elif target.startswith((".", "/")) or target.endswith((".tar", ".json", ".gz", ".lock", ".txt")):
            raise NotReadable(f"{target}: there is no such file or folder")
        else:
            yield take_inventory(self._pulled(target), self.reader, self.cache, self.progress)

    def _of_file(self, path: Path) -> Inventory | None:
        read = lockfile_reader(path.name)
        if read is not None:
            text = path.read_text("utf-8", "replace")
            packages = tuple(dict.fromkeys(Placed(package) for package in read(text, path.name)))
            return Inventory(str(path), "directory", packages=packages)
        return sbom_inventory(path) if is_sbom(path) else None

    def _pulled(self, target: str) -> Image:
        from pilothouse.guard.images.fetch import Http  # late: HTTP and TLS take 100 ms to import
        from pilothouse.guard.images.source.registry import Registry, docker_logins

        reference = parse(target)
        login = docker_logins(self.docker_config)(reference.host)
        plain = reference.host in self.plain
        return Registry(reference, Http(), login, plain=plain).image(self.platform)
