"""Order of versions in each ecosystem, as sort keys.

Keys, because a package is compared with dozens of advisories and a key is made once. An unparsable version raises
ValueError: the caller says so instead of guessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cmp_to_key, lru_cache, total_ordering
from itertools import zip_longest
from typing import Any, Final

from pilothouse.guard.images.match.maven import maven_key

Key = Any
"""Something that can be compared with others of the same ecosystem."""

_PARTS: Final = re.compile(r"(\D*)(\d*)")


def dpkg_key(text: str) -> Key:
    """Debian's order: epoch, `~` before everything, letters before other characters. Source: deb-version(7)."""
    text = text.strip()
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    if not epoch.isdigit() or not rest:
        raise ValueError(f"{text!r} is no Debian version")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch), _dpkg_parts(upstream), _dpkg_parts(revision)


@total_ordering
class _Padded:
    """Numbers compared as if followed by zeros without end: a version's end counts as one, and `~` is below it."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: list[int]) -> None:
        while numbers and not numbers[-1]:
            numbers.pop()
        self._numbers = tuple(numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Padded) and self._numbers == other._numbers

    def __lt__(self, other: _Padded) -> bool:
        pairs = zip_longest(self._numbers, other._numbers, fillvalue=0)
        return next((ours < theirs for ours, theirs in pairs if ours != theirs), False)

    def __hash__(self) -> int:
        return hash(self._numbers)


def _dpkg_parts(text: str) -> _Padded:
    """Words and numbers by turns, a word as its characters' ranks and a zero."""
    found: list[int] = []
    for word, digits in _PARTS.findall(text):
        found += [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word]
        found += [0, int(digits or 0)]
    return _Padded(found)


_RPM_PARTS: Final = re.compile(r"[0-9]+|[a-zA-Z]+|~|\^")


def rpm_compare(first: str, second: str) -> int:
    """RPM's order of epoch, version, release; an epoch counts only where both have one. Source: rpm-version(7)."""
    first_epoch, first_rest = _epoch(first)
    second_epoch, second_rest = _epoch(second)
    if first_epoch is not None and second_epoch is not None and first_epoch != second_epoch:
        return 1 if first_epoch > second_epoch else -1
    first_version, _, first_release = first_rest.partition("-")
    second_version, _, second_release = second_rest.partition("-")
    found = _rpmvercmp(first_version, second_version)
    if found or not first_release or not second_release:
        return found
    return _rpmvercmp(first_release, second_release)


def _epoch(text: str) -> tuple[int | None, str]:
    epoch, colon, rest = text.strip().partition(":")
    if not colon:
        return None, text.strip()
    if not epoch.isdigit():
        raise ValueError(f"{text!r} is no RPM version")
    return int(epoch), rest


def _rpmvercmp(first: str, second: str) -> int:
    if first == second:
        return 0
    left, right = _RPM_PARTS.findall(first), _RPM_PARTS.findall(second)
    for number in range(max(len(left), len(right))):
        a = left[number] if number < len(left) else ""
        b = right[number] if number < len(right) else ""
        found = _rpm_part(a, b)
        if found:
            return found
    return 0


def _rpm_part(a: str, b: str) -> int:
    """One part against the other; "" is the end. `~` is before the end, `^` after it but before all else."""
    if a == b:
        return 0
    if "~" in (a, b):
        return -1 if a == "~" else 1
    if "^" in (a, b):
        return (1 if not b else -1) if a == "^" else (-1 if not a else 1)
    if not a or not b:
        return 1 if a else -1
    if a.isdigit() and b.isdigit():
        return (int(a) > int(b)) - (int(a) < int(b))
    if a.isdigit() or b.isdigit():
        return 1 if a.isdigit() else -1
    return (a > b) - (a < b)


_APK: Final = re.compile(
    r"(?P<numbers>\d+(?:\.\d+)*)(?P<letter>[a-z]?)(?P<suffixes>(?:_[a-z]+\d*)*)(?:~[0-9a-f]+)?(?:-r(?P<revision>\d+))?"
)
_APK_SUFFIXES: Final = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}
_APK_SUFFIX: Final = re.compile(r"_([a-z]+)(\d*)")
_NUMBER, _LETTER, _SUFFIX, _REVISION, _NOTHING = range(5)


def apk_compare(first: str, second: str) -> int:
    """Alpine's order. Source: apk-tools, apk-package(5), "Package version"."""
    left, right = _apk_parts(first), _apk_parts(second)
    for a, b in zip(left, right):
        if a == b:
            continue
        if a[0] == b[0]:
            if a[0] == _NUMBER:
                return _apk_number(str(a[1]), str(b[1]), first=a is left[0])
            return 1 if a[1:] > b[1:] else -1
        for part, answer in ((a, -1), (b, 1)):
            if part[0] == _SUFFIX and int(part[1]) < 0:
                return answer
        return 1 if a[0] < b[0] else -1
    return 0


def _apk_number(a: str, b: str, *, first: bool) -> int:
    """After the first dot a number with a leading zero is a fraction."""
    if not first and (a[0] == "0" or b[0] == "0"):
        return (a > b) - (a < b)
    return (int(a) > int(b)) - (int(a) < int(b))


@lru_cache(maxsize=4096)
def _apk_parts(text: str) -> list[tuple[Any, ...]]:
    match = _APK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no Alpine version")
    found: list[tuple[Any, ...]] = [(_NUMBER, number) for number in match["numbers"].split(".")]
    if match["letter"]:
        found.append((_LETTER, match["letter"]))
    for name, number in _APK_SUFFIX.findall(match["suffixes"]):
        if name not in _APK_SUFFIXES:
            raise ValueError(f"{text!r} is no Alpine version: there is no suffix _{name}")
        found.append((_SUFFIX, _APK_SUFFIXES[name], int(number or 0)))
    if match["revision"]:
        found.append((_REVISION, int(match["revision"])))
    found.append((_NOTHING,))
    return found


_SEMVER: Final = re.compile(r"v?(\d+(?:\.\d+)*)(?:[-.]?([0-9A-Za-z.-]+))?(?:\+.*)?")
_SEMVER_STRICT: Final = re.compile(r"v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")


def semver_key(text: str) -> Key:
    """Semantic Versioning 2.0.0, with or without `v`, numbers that are left out being 0."""
    match = _SEMVER_STRICT.fullmatch(text.strip()) or _SEMVER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no semantic version")
    numbers = [int(number) for number in match[1].split(".")]
    while len(numbers) > 3 and numbers[-1] == 0:
        numbers.pop()
    numbers += [0] * (3 - len(numbers))
    if not match[2]:
        return tuple(numbers), (1,)
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in match[2].split("."))
    return tuple(numbers), (0, parts)


_GEM: Final = re.compile(r"[0-9]+|[a-zA-Z]+")


def gem_key(text: str) -> Key:
    """RubyGems: letters make a pre-release and come before numbers. Source: Gem::Version's documentation."""
    text = text.strip().replace("-", ".pre.")
    if not re.fullmatch(r"[0-9]+(?:\.[0-9a-zA-Z]+)*", text):
        raise ValueError(f"{text!r} is no gem version")
    parts = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _GEM.findall(text)]
    # Zeros before a letter and at the end mean nothing; the end is a zero.
    trimmed: list[tuple[int, int, str]] = []
    for number, part in enumerate(parts):
        following = next((p for p in parts[number:] if p != (1, 0, "")), None)
        if part == (1, 0, "") and (following is None or following[0] == 0):
            continue
        trimmed.append(part)
    return (*trimmed, (1, 0, ""))


_COMPOSER: Final = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.(\d+))?"
    r"(?:[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?\d+(?:[.-]\d+)*)?))?)?([.-]?dev)?(?:\+\S*)?"
)
_STABILITY: Final = {"dev": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "rc": 3, "": 4, "stable": 4}


def composer_key(text: str) -> Key:
    """Composer's: dev, alpha, beta, RC, then the release, then its patches. A branch such as dev-main has no order.

    Source: Composer's documentation, "Versions and constraints"; PHP's manual, `version_compare`.
    """
    match = _COMPOSER.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no Composer version")
    numbers = tuple(int(number or 0) for number in match.groups()[:4])
    word, behind, dev = match[5] or "", match[6] or "", bool(match[7])
    rank = _STABILITY.get(word, 5)
    if dev and rank == 4:
        return numbers, _STABILITY["dev"], (), 1
    more = tuple(int(number) for number in re.findall(r"\d+", behind)) if rank != 4 else ()
    return numbers, rank, more, int(not dev)


def nuget_key(text: str) -> Key:
    """NuGet's: Semantic Versioning with a fourth number, labels without regard to case."""
    return semver_key(text.lower())


def pep440_key(text: str) -> Key:
    """PEP 440."""
    from packaging.version import Version  # late: 30 ms

    return Version(text)


_ORDERS: Final[dict[str, Callable[[str], Key]]] = {
    "dpkg": dpkg_key,
    "rpm": cmp_to_key(rpm_compare),
    "apk": cmp_to_key(apk_compare),
    "semver": semver_key,
    "pep440": pep440_key,
    "maven": maven_key,
    "gem": gem_key,
    "composer": composer_key,
    "nuget": nuget_key,
}


@lru_cache(maxsize=16384)
def version_key(order: str, text: str) -> Key:
    """A version's sort key. Raises ValueError."""
    key = _ORDERS[order](text)
    if order == "apk":
        _apk_parts(text)
    elif order == "rpm":
        _epoch(text)
    return key
