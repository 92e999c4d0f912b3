"""VEX: what a maker says of flaws in its own product, so that they need not be looked at again.

Source: OpenVEX specification 0.2.0. `not_affected` and `fixed` take a flaw away; `affected` and
`under_investigation` do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pilothouse.guard.images.match.flaw import Flaw

_TAKES_AWAY: Final = ("not_affected", "fixed")
_STATUSES: Final = (*_TAKES_AWAY, "affected", "under_investigation")


class BadVex(ValueError):
    """The text is no OpenVEX document; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One flaw, by all its names, in products (package URLs) or components of them."""

    names: frozenset[str]
    status: str
    products: tuple[str, ...]
    components: tuple[str, ...]


def statements_in(text: bytes) -> list[Statement]:
    """The statements of a document, later ones last. Raises BadVex."""
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadVex(f"no JSON: {error}") from error
    if not isinstance(tree, dict) or "openvex" not in str(tree.get("@context")):
        raise BadVex("no OpenVEX document: its @context does not say so")
    entries = tree.get("statements")
    if not isinstance(entries, list):
        raise BadVex("it has no statements")
    return [_statement(entry, number) for number, entry in enumerate(entries)]


def _statement(entry: Any, number: int) -> Statement:
    if not isinstance(entry, dict) or entry.get("status") not in _STATUSES:
        raise BadVex(f"statements[{number}].status: there is {', '.join(_STATUSES)}")
    flaw = entry.get("vulnerability")
    named = flaw if isinstance(flaw, dict) else {"name": flaw}
    names = [named.get("name"), *(named.get("aliases") or ())]
    products = [product for product in entry.get("products") or () if isinstance(product, dict)]
    components = [part for product in products for part in product.get("subcomponents") or ()]
    return Statement(
        frozenset(str(name) for name in names if name),
        str(entry["status"]),
        tuple(_ids(products)),
        tuple(_ids(components)),
    )


def _ids(entries: Iterable[Any]) -> Iterable[str]:
    for entry in entries:
        if isinstance(entry, dict):
            named = entry.get("identifiers")
            purl = named.get("purl") if isinstance(named, dict) else None
            yield str(purl or entry.get("@id") or "")


def without(flaws: Sequence[Flaw], statements: Sequence[Statement], image: str, digest: str = "") -> list[Flaw]:
    """The flaws that no statement takes away; the last that is about a flaw counts."""
    left = []
    for flaw in flaws:
        about = [entry for entry in statements if entry.names & set(flaw.ids) and _fits(entry, flaw, image, digest)]
        if not about or about[-1].status not in _TAKES_AWAY:
            left.append(flaw)
    return left


def _fits(statement: Statement, flaw: Flaw, image: str, digest: str) -> bool:
    if any(_is_package(product, flaw) for product in statement.products):
        return True
    if not any(_is_image(product, image, digest) for product in statement.products):
        return False
    return not statement.components or any(_is_package(part, flaw) for part in statement.components)


def _is_package(url: str, flaw: Flaw) -> bool:
    from packageurl import PackageURL  # late: 30 ms

    try:
        found = PackageURL.from_string(url)
    except ValueError:
        return False
    separator = ":" if found.type == "maven" else "/"
    full = f"{found.namespace}{separator}{found.name}" if found.namespace else found.name
    names = {flaw.package.lower(), *(name.lower() for name in flaw.packages)}
    same = found.type == flaw.type and ({full.lower(), found.name.lower()} & names)
    return bool(same) and (not found.version or found.version == flaw.version)


def _is_image(product: str, image: str, digest: str) -> bool:
    """`pkg:oci/NAME@sha256:…`, or the image's name as it is."""
    if product == image:
        return True
    if not product.startswith("pkg:oci/"):
        return False
    name, _, version = product.removeprefix("pkg:oci/").partition("?")[0].partition("@")
    own = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return name.rpartition("/")[2] == own and (not version or version.replace("%3A", ":") == digest)
