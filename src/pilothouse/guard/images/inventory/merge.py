"""From the layers of an image to what is in it: the upper layer wins, whiteouts hide, and each package is traced to
the layer that brought it. Pure.

Source: OCI image specification, "Image Layer Filesystem Changeset": whiteouts and opaque folders hide what is in lower
layers only.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from pilothouse.guard.images.inventory import paths, secrets
from pilothouse.guard.images.inventory.os_release import system_of
from pilothouse.guard.images.model import BaseImage, Inventory, Layer, LayerRecord, Package, Placed, System, Trace

_DEBIAN_PYTHON = "usr/lib/python3/dist-packages/"
_OF_SYSTEM = ("deb", "apk", "rpm")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What is used of an image's configuration."""

    user: str = ""
    env: tuple[str, ...] = ()
    created: str = ""
    architecture: str = ""
    base: BaseImage | None = None


def assemble(
    name: str, digest: str, config: ImageConfig, layers: Sequence[Layer], records: Sequence[LayerRecord]
) -> Inventory:
    """The inventory of an image; `records` are those of `layers`, lowest first."""
    view = _View(records)
    system = _system(view, records)
    placed, left_out = _packages(view, records, system)
    problems = [
        problem
        for number, record in enumerate(records)
        for problem in record.problems
        if not problem.packages or view.visible(problem.path, number)
    ]
    traces = [(trace, -1) for trace in secrets.traces_in_env(config.env)]
    traces += _traces(view, records)
    found = Inventory(
        name,
        "image",
        digest,
        system,
        tuple(layers),
        tuple(placed),
        tuple(traces),
        tuple(problems),
        left_out,
        config.user,
        config.env,
        config.created,
    )
    return msgspec.structs.replace(found, base=_base(config.base, found, records))


def _base(said: BaseImage | None, found: Inventory, records: Sequence[LayerRecord]) -> BaseImage | None:
    """With at least the layer that has the operating system; None for an image that is nothing else."""
    systems = [number for number, record in enumerate(records) if record.systems]
    least = systems[0] + 1 if systems and found.system is not None else 0
    layers = max(said.layers if said else 0, least)
    if layers >= len(records):
        layers = 0
    if not layers and (said is None or not said.name):
        return None
    return BaseImage(said.name if said else "", said.digest if said else "", layers)


class _View:
    """Which files of which layer are seen in the final file system."""

    def __init__(self, records: Sequence[LayerRecord]) -> None:
        self._files = [paths.unpacked(record.files) for record in records]
        self._hidden = [frozenset(record.hidden) for record in records]
        self._opaque = [frozenset(record.opaque) for record in records]
        self._roots: dict[str, str] = {}
        for record in records:
            for link, target in record.links.items():
                if "/" not in link:
                    self._roots[link] = target.strip("/")

    def visible(self, path: str, layer: int) -> bool:
        """True when no layer above replaces, hides or covers it."""
        above = paths.ancestors(path)
        names = [paths.digest(entry) for entry in (path, *above)]
        for number in range(layer + 1, len(self._files)):
            if any(name in self._files[number] for name in names):
                return False
            if path in self._hidden[number] or any(entry in self._hidden[number] for entry in above):
                return False
            opaque = self._opaque[number]
            if opaque and ("" in opaque or any(entry in opaque for entry in above)):
                return False
        return True

    def real(self, path: str) -> str:
        """The path with a link at the root followed, such as bin to usr/bin."""
        first, slash, rest = path.partition("/")
        target = self._roots.get(first)
        return f"{target}/{rest}" if slash and target else path


def _system(view: _View, records: Sequence[LayerRecord]) -> System | None:
    for path in ("etc/os-release", "usr/lib/os-release"):
        for number in reversed(range(len(records))):
            fields = records[number].systems.get(path)
            if fields is not None and view.visible(path, number):
                return system_of(fields)
    return _by_link(view, records)


def _by_link(view: _View, records: Sequence[LayerRecord]) -> System | None:
    for number in reversed(range(len(records))):
        target = records[number].links.get("etc/os-release")
        if target is not None:
            path = posixpath.normpath(posixpath.join("etc", target)) if not target.startswith("/") else target[1:]
            for lower in reversed(range(len(records))):
                fields = records[lower].systems.get(path)
                if fields is not None and view.visible(path, lower):
                    return system_of(fields)
    return None


def _packages(view: _View, records: Sequence[LayerRecord], system: System | None) -> tuple[list[Placed], int]:
    owned: set[bytes] = set()
    for number, record in enumerate(records):
        for path, digests in record.owned.items():
            if view.visible(path, number):
                owned |= paths.unpacked(digests)
    found: list[Placed] = []
    left_out = 0
    for path, number in _sources(view, records):
        packages = records[number].packages[path]
        if packages and packages[0].type in _OF_SYSTEM:
            found += _attributed(records, path, number)
        elif _debian_python(system, path) or paths.digest(paths.merged(view.real(path))) in owned:
            left_out += len(packages)
        else:
            found += [Placed(package, number) for package in packages]
    return _once(found), left_out


def _debian_python(system: System | None, path: str) -> bool:
    """Debian's own place for Python packages: pip installs elsewhere, so it is dpkg's even without file lists."""
    return system is not None and "debian" in (system.id, *system.like.split()) and path.startswith(_DEBIAN_PYTHON)


def _sources(view: _View, records: Sequence[LayerRecord]) -> Iterator[tuple[str, int]]:
    for number, record in enumerate(records):
        for path in record.packages:
            if view.visible(path, number):
                yield path, number


def _attributed(records: Sequence[LayerRecord], path: str, last: int) -> list[Placed]:
    """Each package of a database, with the first layer from which on the database has had it without a break."""
    since: dict[tuple[str, str, str], int] = {}
    for number in range(last + 1):
        packages = records[number].packages.get(path)
        if packages is not None:
            keys = [(package.name, package.version, package.arch) for package in packages]
            since = {key: since.get(key, number) for key in keys}
    return [
        Placed(package, since[(package.name, package.version, package.arch)])
        for package in records[last].packages[path]
    ]


def _once(placed: list[Placed]) -> list[Placed]:
    """Without repeats of one package at one path."""
    found: dict[tuple[Package, int], Placed] = {}
    for entry in placed:
        found.setdefault((entry.package, entry.layer), entry)
    return list(found.values())


def _traces(view: _View, records: Sequence[LayerRecord]) -> Iterator[tuple[Trace, int]]:
    """Secrets of every layer, whether or not a later one hides them: they can be read from the image all the same."""
    for number, record in enumerate(records):
        for trace in record.traces:
            if trace.kind != "setuid" or view.visible(trace.path, number):
                yield trace, number
