"""An image as it was read, together with what an SBOM says of it. Pure.

An SBOM adds packages and takes none away: what was read is there whatever is said, and what is said may be right about
what could not be read (a program without a package, a database that is not understood).
"""

from __future__ import annotations

import msgspec

from pilothouse.guard.images.data.names import package_name
from pilothouse.guard.images.match.targets import language_ecosystem
from pilothouse.guard.images.model import Inventory, Package, Placed, Problem


def with_sbom(inventory: Inventory, sbom: Inventory, where: str) -> Inventory:
    """With the packages that only the SBOM names, and a note on how the two differ."""
    read = {_key(placed.package): placed for placed in inventory.packages}
    said = {_key(placed.package): placed for placed in sbom.packages}
    added = tuple(Placed(placed.package) for key, placed in said.items() if key not in read)
    missing = len(read.keys() - said.keys())
    note = f"SBOM {where}: {len(said)} packages"
    if added:
        note += f", {len(added)} of them not found in the image"
    if missing:
        note += f"; it lacks {missing} that were found"
    notes = (*inventory.notes, note, *(f"SBOM {where}: {problem.reason}" for problem in sbom.problems))
    return msgspec.structs.replace(
        inventory, packages=(*inventory.packages, *added), system=inventory.system or sbom.system, notes=notes
    )


def without_sbom(inventory: Inventory, reason: str) -> Inventory:
    """An SBOM that was asked for says nothing that can be used: the image does not count as scanned in full."""
    return msgspec.structs.replace(inventory, problems=(*inventory.problems, Problem("", reason)))


def _key(package: Package) -> tuple[str, str, str]:
    return package.type, package_name(language_ecosystem(package.type) or "", package.name), package.version
