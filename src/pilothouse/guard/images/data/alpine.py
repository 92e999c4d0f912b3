"""Alpine's secdb: for each package of a repository the versions that fixed something; "0" is "never affected"."""

from __future__ import annotations

import re
from functools import partial
from hashlib import blake2b
from typing import Final

import msgspec

from pilothouse.guard.images.data.records import FIXED, INTRODUCED, Advisory, Affected, Event, Rule
from pilothouse.guard.images.data.write import Parsed, Writer
from pilothouse.guard.images.model import NOT_JSON, NotReadable

_IDENT: Final = re.compile(r"[A-Z][A-Z0-9]+-[A-Za-z0-9][\w.-]*")


class _Package(msgspec.Struct):
    name: str
    secfixes: dict[str, list[str] | None] | None = None


class _Entry(msgspec.Struct):
    pkg: _Package


class _Repository(msgspec.Struct):
    distroversion: str
    packages: list[_Entry]
    reponame: str = ""


def take_secdb(writer: Writer, data: bytes) -> None:
    """Takes one repository of one release in. Raises NotReadable."""
    try:
        repository = msgspec.json.decode(data, type=_Repository)
    except NOT_JSON as error:
        raise NotReadable(f"this is no secdb: {error}") from error
    ecosystem = f"Alpine:{repository.distroversion}"
    for entry in repository.packages:
        for ident, versions in _by_flaw(entry.pkg).items():
            form = ["a range for each fix"] if len(versions) > 1 else []  # what was kept in another form is read anew
            digest = blake2b("\n".join([*form, ident, *versions]).encode(), digest_size=8).digest()
            parse = partial(_parsed, ident, ecosystem, entry.pkg.name, versions)
            writer.put(f"{ident} {ecosystem} {entry.pkg.name}", digest, parse)


def _by_flaw(package: _Package) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for version, idents in (package.secfixes or {}).items():
        for text in idents or ():
            for ident in _IDENT.findall(text):
                found.setdefault(ident, []).append(version)
    return found


def _parsed(ident: str, ecosystem: str, name: str, versions: list[str]) -> Parsed:
    link = f"https://security.alpinelinux.org/vuln/{ident}"
    # Fixed more than once, by a fix that was not whole: everything before the last one is affected.
    ranges = tuple((Event(INTRODUCED, "0"), Event(FIXED, version)) for version in versions if version != "0")
    return Advisory(ident, references=(link,)), [Affected(ecosystem, name, Rule(ranges))]
