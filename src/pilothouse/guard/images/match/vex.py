"""VEX: what a maker says of flaws in its own product, so that they need not be looked at again.

Source: OpenVEX specification 0.2.0. `not_affected` and `fixed` silence a flaw; `affected` and `under_investigation` do
not. Of several statements about a flaw the one with the latest time counts, then the last one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgspec

from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.model import NOT_JSON

SILENCING: Final = ("not_affected", "fixed")
_STATUSES: Final = (*SILENCING, "affected", "under_investigation")
_JUSTIFICATIONS: Final = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
_SYSTEM_TYPES: Final = ("deb", "apk", "rpm")
_SHOWN: Final = 200


class BadVex(ValueError):
    """The text is no OpenVEX document; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a statement is about, by names (package URLs, or an image's name) and digests; `components` narrow it."""

    names: tuple[str, ...]
    digests: frozenset[str] = frozenset()
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """One flaw, by all its names, in products. `by` is who says so, `place` where the document was found."""

    names: frozenset[str]
    status: str
    products: tuple[Product, ...]
    time: float
    by: str
    justification: str = ""
    impact: str = ""
    document: str = ""
    place: str = ""

    def __str__(self) -> str:
        why = self.justification or self.impact
        text = f"{self.status}{f' ({why[:_SHOWN]})' if why else ''} says {self.by}"
        return text + "".join(f", {part}" for part in (self.document, self.place) if part)


class Vouched(msgspec.Struct, frozen=True):
    """A document that was beside an image, and the key that vouches for it: its id, and the name it had then. `digests`
    are the image's, and its index's."""

    document: bytes
    where: str
    digests: tuple[str, ...]
    key: str
    signer: str


class Silenced(NamedTuple):
    """A flaw that a statement silences."""

    flaw: Flaw
    by: Statement


@dataclass(frozen=True, slots=True)
class Named:
    """An image, or whatever was scanned, by its name and its digests (of the image, and of the index it is in)."""

    name: str
    digests: frozenset[str] = field(default_factory=frozenset)


def named(name: str, digests: Iterable[str]) -> Named:
    """Without digests that are not known."""
    return Named(name, frozenset(digest for digest in digests if digest))


def statements_in(text: bytes, place: str = "", default: Product | None = None) -> list[Statement]:
    """The statements of a document. `default` is what statements without products are about. Raises BadVex."""
    try:
        tree = msgspec.json.decode(text)
    except NOT_JSON as error:
        raise BadVex(f"no JSON: {error}") from error
    if not isinstance(tree, dict) or "openvex" not in str(tree.get("@context")):
        raise BadVex("no OpenVEX document: its @context does not say so")
    if not isinstance(tree.get("author"), str) or not tree["author"]:
        raise BadVex("it has no author: nobody says what it says")
    entries = tree.get("statements")
    if not isinstance(entries, list):
        raise BadVex("it has no statements")
    return [_statement(entry, f"statements[{number}]", tree, place, default) for number, entry in enumerate(entries)]


def statements_of(vouched: Vouched) -> list[Statement]:
    """What a document beside an image says. Whoever means the image's index means the image. Raises BadVex."""
    digests = frozenset(vouched.digests)
    image = Named("", digests)
    place = f"attached as {vouched.where}, signed by {vouched.signer}"
    return [
        replace(
            said,
            products=tuple(
                replace(product, digests=product.digests | digests) if _is_subject(product, image) else product
                for product in said.products
            ),
        )
        for said in statements_in(vouched.document, place, Product((), digests))
    ]


def _statement(entry: Any, where: str, tree: dict[str, Any], place: str, default: Product | None) -> Statement:
    if not isinstance(entry, dict) or entry.get("status") not in _STATUSES:
        raise BadVex(f"{where}.status: there is {', '.join(_STATUSES)}")
    justification, impact = str(entry.get("justification") or ""), str(entry.get("impact_statement") or "")
    if justification and justification not in _JUSTIFICATIONS:
        raise BadVex(f"{where}.justification: {justification!r}: there is {', '.join(_JUSTIFICATIONS)}")
    if entry["status"] == "not_affected" and not justification and not impact:
        raise BadVex(f"{where}: not_affected needs a justification or an impact_statement")
    flaw = entry.get("vulnerability")
    about = flaw if isinstance(flaw, dict) else {"name": flaw}
    names = frozenset(str(name) for name in (about.get("name"), *_list(about.get("aliases"))) if name)
    if not names:
        raise BadVex(f"{where}.vulnerability: it has no name")
    products = tuple(_product(product) for product in _list(entry.get("products")) if isinstance(product, dict))
    return Statement(
        names,
        str(entry["status"]),
        products or ((default,) if default is not None else ()),
        _time(entry.get("timestamp") or tree.get("timestamp"), where),
        " ".join(str(entry.get("supplier") or tree["author"]).split())[:_SHOWN],
        justification,
        " ".join(impact.split()),
        str(tree.get("@id") or "")[:_SHOWN],
        place,
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(text: object, where: str) -> float:
    try:
        time = dt.datetime.fromisoformat(str(text))
    except ValueError as error:
        raise BadVex(f"{where}: neither it nor the document has a proper timestamp: {text!r}") from error
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()


def _product(entry: dict[str, Any]) -> Product:
    hashes = entry.get("hashes")
    digests = {
        f"{kind.replace('-', '').lower()}:{value}"
        for kind, value in (hashes.items() if isinstance(hashes, dict) else ())
        if isinstance(value, str)
    }
    components = (name for part in _list(entry.get("subcomponents")) if isinstance(part, dict) for name in _names(part))
    return Product(tuple(_names(entry)), frozenset(digests), tuple(components))


def _names(entry: dict[str, Any]) -> list[str]:
    identifiers = entry.get("identifiers")
    purl = identifiers.get("purl") if isinstance(identifiers, dict) else None
    return list(dict.fromkeys(name for name in (purl, entry.get("@id")) if isinstance(name, str) and name))


class Statements:
    """Statements by the flaws they are about."""

    def __init__(self, statements: Iterable[Statement] = ()) -> None:
        self._all = tuple(statements)
        self._by_name: dict[str, list[tuple[int, Statement]]] = {}
        for number, statement in enumerate(self._all):
            for name in statement.names:
                self._by_name.setdefault(name, []).append((number, statement))

    def with_more(self, statements: Iterable[Statement]) -> Statements:
        """These and others, said after them."""
        return Statements((*self._all, *statements))

    def verdict(self, flaw: Flaw, subject: Named) -> Statement | None:
        """The statement about a flaw that counts, None when there is none."""
        about = {number: entry for name in flaw.ids for number, entry in self._by_name.get(name, ())}
        fitting = [(entry.time, number) for number, entry in about.items() if _fits(entry, flaw, subject)]
        return about[max(fitting)[1]] if fitting else None

    def split(self, flaws: Sequence[Flaw], subject: Named) -> tuple[list[Flaw], list[Silenced]]:
        """The flaws that no statement silences, and those that one does."""
        left: list[Flaw] = []
        silenced: list[Silenced] = []
        for flaw in flaws:
            said = self.verdict(flaw, subject)
            if said is not None and said.status in SILENCING:
                silenced.append(Silenced(flaw, said))
            else:
                left.append(flaw)
        return left, silenced


NO_STATEMENTS: Final = Statements()


def _fits(statement: Statement, flaw: Flaw, subject: Named) -> bool:
    return any(
        (not product.components or any(_is_package(part, flaw) for part in product.components))
        if _is_subject(product, subject)
        else any(_is_package(name, flaw) for name in product.names)
        for product in statement.products
    )


def _is_package(url: str, flaw: Flaw) -> bool:
    """The namespace of a system's package names the distribution; elsewhere it is part of the name."""
    from packageurl import PackageURL  # late: 30 ms

    try:
        found = PackageURL.from_string(url)
    except ValueError:
        return False
    if found.type != flaw.type:
        return False
    full = found.name
    if found.namespace and found.type not in _SYSTEM_TYPES:
        full = f"{found.namespace}{':' if found.type == 'maven' else '/'}{found.name}"
    names = {flaw.package.lower(), *(name.lower() for name in flaw.packages)}
    return full.lower() in names and (not found.version or found.version == flaw.version)


def _is_subject(product: Product, subject: Named) -> bool:
    if not product.digests.isdisjoint(subject.digests):
        return True
    return any(name == subject.name or _is_image(name, subject.name, subject.digests) for name in product.names)


def _is_image(url: str, image: str, digests: Collection[str]) -> bool:
    """`pkg:oci/NAME@DIGEST` by its digest; without one by name, and by its `repository_url` and `tag` where given.

    Source: package-url specification, type `oci`.
    """
    if not url.startswith("pkg:oci/"):
        return False
    from packageurl import PackageURL  # late: 30 ms

    try:
        found = PackageURL.from_string(url)
    except ValueError:
        return False
    if found.version:
        return found.version in digests
    repository, tag = _split(image)
    qualifiers = found.qualifiers if isinstance(found.qualifiers, dict) else {}
    place = qualifiers.get("repository_url", "")
    return (
        found.name == repository.rpartition("/")[2]
        and (not place or place in (repository, repository.rpartition("/")[0]))
        and qualifiers.get("tag", tag) == tag
    )


def _split(image: str) -> tuple[str, str]:
    """Repository and tag; a port is part of the repository."""
    place, slash, last = image.partition("@")[0].rpartition("/")
    name, _, tag = last.partition(":")
    return place + slash + name, tag
