"""What a scan says of an inventory: its flaws, what else is wrong in it, and what was not scanned, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import msgspec

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.debian import RELEASES
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.matcher import Judged, judge
from pilothouse.guard.images.match.targets import SYSTEM_TYPES, codename, ecosystems_of, language_ecosystem
from pilothouse.guard.images.model import Inventory, Package, Placed, System

_FEW: int = 20


@dataclass(frozen=True, slots=True)
class Result:
    """One scanned subject."""

    inventory: Inventory
    flaws: tuple[Flaw, ...]
    not_scanned: tuple[str, ...]
    """Why something in it, or all of it, was not scanned."""

    @property
    def complete(self) -> bool:
        """Everything in it was looked at."""
        return not self.not_scanned


FlawKey: TypeAlias = tuple[str, str, str, str]
"""Id, type, package and version: the same flaw in several packages is one."""
Rank: TypeAlias = tuple[int, int, float, float, str, str]


class Told(NamedTuple):
    """What was found of a package that is in one place, as it is put together with others."""

    flaws: tuple[tuple[FlawKey, Rank, Flaw], ...] = ()
    problems: tuple[str, ...] = ()


Ask = Callable[[Placed], Told]


def scanned(base: Base, inventory: Inventory) -> Result:
    """Looks every package up."""
    known: dict[Package, Judged] = {}

    def ask(placed: Placed) -> Told:
        bare = bare_package(placed.package)
        judged = known.get(bare)
        if judged is None:
            judged = known[bare] = judge(base, bare, inventory.system)
        return told_of(judged, placed)

    flaws, problems = combined(inventory, ask)
    return Result(inventory, flaws, (*reasons_against(base, inventory), *problems))


def told_of(judged: Judged, placed: Placed) -> Told:
    """What was found of a package, as it is said of one place."""
    flaws = (
        ((flaw.id, flaw.type, flaw.package, flaw.version), flaw.rank, _with_places(flaw, [placed]))
        for flaw in judged.flaws
    )
    return Told(tuple(flaws), tuple(judged.problems))


def combined(inventory: Inventory, ask: Ask) -> tuple[tuple[Flaw, ...], tuple[str, ...]]:
    """The flaws of all its packages, each with its places, worst first; and what could not be judged.

    An engine puts a hundred thousand together after one advisory, nearly all of one place: those are taken as they are.
    """
    found: dict[FlawKey, tuple[Rank, Flaw, Placed]] = {}
    several: dict[FlawKey, list[Placed]] = {}
    problems: dict[Package, tuple[str, ...]] = {}
    for placed in inventory.packages:
        told = ask(placed)
        if told.problems:
            problems[bare_package(placed.package)] = told.problems
        for key, rank, flaw in told.flaws:
            if key not in found:
                found[key] = rank, flaw, placed
            else:
                several.setdefault(key, [found[key][2]]).append(placed)
    for key, places in several.items():
        rank, flaw, first = found[key]
        found[key] = rank, _with_places(flaw, places), first
    texts = [text for said in problems.values() for text in said]
    more = [f"{len(texts) - _FEW} more advisories could not be compared"] if len(texts) > _FEW else []
    flaws = tuple(flaw for _, flaw, _ in sorted(found.values(), key=itemgetter(0)))
    return flaws, (*texts[:_FEW], *more)


def bare_package(package: Package) -> Package:
    """The package wherever it is: what flaws depend on."""
    return msgspec.structs.replace(package, path="", arch="")


def _with_places(flaw: Flaw, places: list[Placed]) -> Flaw:
    names = tuple(sorted({placed.package.name for placed in places}))
    paths = tuple(sorted({placed.package.path for placed in places} - {""})[:_FEW])
    layers = tuple(sorted({placed.layer for placed in places} - {-1}))
    packages = names if names != (flaw.package,) else ()
    return msgspec.structs.replace(flaw, packages=packages, paths=paths, layers=layers)


def reasons_against(base: Base, inventory: Inventory) -> Iterable[str]:
    """Why an inventory must not pass for clean whatever is found."""
    for problem in inventory.problems:
        if problem.packages:
            yield f"{problem.path}: {problem.reason}" if problem.path else problem.reason
    kinds = Counter(placed.package.type for placed in inventory.packages)
    of_system = sum(kinds[kind] for kind in SYSTEM_TYPES)
    system = inventory.system
    if inventory.kind == "image":
        yield from _unknown_system(system, of_system, len(inventory.packages))
    elif system is not None and not of_system:
        yield f"{system} is named, but no package of it: what is installed is not known"
    if of_system and system is not None:
        yield from _no_system_data(base, system, of_system)
    elif of_system and inventory.kind != "image":
        yield f"{of_system} packages of an operating system that is not named"
    for kind, count in sorted(kinds.items()):
        if kind not in SYSTEM_TYPES:
            ecosystem = language_ecosystem(kind)
            if ecosystem is None:
                yield f"{count} packages of type {kind}, for which we know no data"
            elif not base.covers(ecosystem):
                yield f"there is no vulnerability data for {ecosystem} ({count} packages); pilothouse vulndb update"
    yield from _without_version(inventory)


def _unknown_system(system: System | None, of_system: int, packages: int) -> Iterable[str]:
    if system is None and of_system:
        yield f"its operating system is unknown: {of_system} packages, but no os-release file"
    elif system is None and not packages:
        yield "no operating system and no package was recognised in it"
    elif system is not None and not of_system:
        yield f"{system} without a package database: what is installed is not known"


def _no_system_data(base: Base, system: System, count: int) -> Iterable[str]:
    ecosystems = ecosystems_of(system)
    if ecosystems is None:
        yield f"{system} is a distribution we have no data for ({count} packages)"
    elif system.id == "debian" and base.covers("Debian"):
        if codename(system) not in base.meta(RELEASES).split():
            yield f"Debian's tracker has no data for {system} ({codename(system)}, {count} packages)"
    elif not any(base.covers(ecosystem) for ecosystem in ecosystems):
        yield f"there is no vulnerability data for {system} ({count} packages); pilothouse vulndb update"


def _without_version(inventory: Inventory) -> Iterable[str]:
    names = sorted({placed.package.name for placed in inventory.packages if not placed.package.version})
    if names:
        yield f"{len(names)} packages without an exact version: {_some(names)}"
    packages = (placed.package for placed in inventory.packages)
    loose = sorted({package.name for package in packages if package.type == "maven" and ":" not in package.name})
    if loose:
        yield f"{len(loose)} Java archives that do not say which group they are of: {_some(loose)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
