"""What a target on the command line is: an SBOM, an archive, a folder, or an image in a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pilothouse.guard.images.inventory.directory import directory_inventory, lockfile_reader
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.sbom import is_sbom, sbom_inventory
from pilothouse.guard.images.inventory.stated import with_sbom
from pilothouse.guard.images.match.vex import Statement
from pilothouse.guard.images.model import Inventory, NotReadable, Placed
from pilothouse.guard.images.scan.beside import Asked, Beside, look_beside
from pilothouse.guard.images.scan.inventory import Progress, Records, take_inventory
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.archive import images_in, is_layout
from pilothouse.guard.images.source.image import Image, host_platform
from pilothouse.guard.images.source.reference import parse

if TYPE_CHECKING:  # HTTP and TLS take 100 ms to import
    from pilothouse.guard.images.source.registry import Registry


@dataclass(slots=True)
class Inventories:
    """Takes the inventories of targets. `plain` names registries that are spoken to without TLS."""

    reader: LayerReader
    cache: Records
    platform: str = field(default_factory=host_platform)
    plain: Sequence[str] = ()
    asked: Asked = field(default_factory=Asked)
    sboms: Sequence[Path] = ()
    """Of the images, given beside them."""
    docker_config: Path = field(default_factory=lambda: Path.home() / ".docker" / "config.json")
    progress: Progress = lambda layer, done, number: None
    statements: list[Statement] = field(default_factory=list)
    """What attached VEX documents say of the image that was yielded last."""

    def of(self, target: str) -> Iterator[Inventory]:
        """What a target holds. Raises NotReadable, OSError."""
        path = Path(target)
        self.statements = []
        if path.exists() and self.asked:
            raise NotReadable(
                f"{target}: signatures and what is attached are kept in a registry; this is a file or folder"
            )
        if path.is_dir() and not is_layout(path):
            self._no_sbom(target)
            yield directory_inventory(path)
        elif path.is_file() and (single := self._of_file(path)) is not None:
            self._no_sbom(target)
            yield single
        elif path.exists():
            for image in images_in(path, self.platform, Limits()):
                yield self._taken(image, Beside())
        elif target.startswith((".", "/")) or target.endswith((".tar", ".json", ".gz", ".lock", ".txt")):
            raise NotReadable(f"{target}: there is no such file or folder")
        else:
            registry = self._registry(target)
            image = registry.image(self.platform)
            beside = look_beside(registry, image, self.asked)
            self.statements = beside.statements
            yield self._taken(image, beside)

    def _taken(self, image: Image, beside: Beside) -> Inventory:
        inventory = beside.told(take_inventory(image, self.reader, self.cache, self.progress))
        for path in self.sboms:
            inventory = with_sbom(inventory, sbom_inventory(path), str(path))
        return inventory

    def _no_sbom(self, target: str) -> None:
        if self.sboms:
            raise NotReadable(f"{target}: an SBOM can be given for images; one by itself is scanned as a target")

    def _of_file(self, path: Path) -> Inventory | None:
        read = lockfile_reader(path.name)
        if read is not None:
            text = path.read_text("utf-8", "replace")
            packages = tuple(dict.fromkeys(Placed(package) for package in read(text, path.name)))
            return Inventory(str(path), "directory", packages=packages)
        return sbom_inventory(path) if is_sbom(path) else None

    def _registry(self, target: str) -> Registry:
        from pilothouse.guard.images.fetch import Http  # late: HTTP and TLS take 100 ms to import
        from pilothouse.guard.images.source.registry import Registry, docker_logins

        reference = parse(target)
        login = docker_logins(self.docker_config)(reference.host)
        plain = reference.host in self.plain
        return Registry(reference, Http(), login, plain=plain)
