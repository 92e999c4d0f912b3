"""A namespace's policy on images, written as its annotations, and what it says of an image. Pure.

`images.guard.pilothouse.dev/` and:

registries        patterns such as `registry.example/team/*`, separated by commas: no image from elsewhere
digest            `required`: only images named by digest
severity          low, medium, high or critical: no image with a flaw as bad, where a fix is there
unfixed           `refuse`: nor where none is
known-exploited   `refuse`: no image with a flaw that is known to be exploited
not-scanned       `refuse`: no image that is not scanned in full (else that is a warning)
data-days         no image judged by data older than so many days
signed-by         names of keys, separated by commas: only images that one of them has signed
sbom              `attached`: packages that attached SBOMs name are looked up too
vex-signed-by     names of keys, separated by commas: attached VEX documents that one of them has signed are heard
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.severity import RATINGS
from pilothouse.guard.images.match.vex import Vouched
from pilothouse.guard.images.source.reference import Reference

PREFIX: Final = "images.guard.pilothouse.dev/"
_KEYS: Final = (
    "registries",
    "digest",
    "severity",
    "unfixed",
    "known-exploited",
    "not-scanned",
    "data-days",
    "signed-by",
    "sbom",
    "vex-signed-by",
)
_WORDS: Final = {
    "digest": "required",
    "unfixed": "refuse",
    "known-exploited": "refuse",
    "not-scanned": "refuse",
    "sbom": "attached",
}
_SHOWN: Final = 3


class BadPolicy(ValueError):
    """An annotation says something that no policy can; the message names it and what there is."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace asks of images; what is False or empty is not asked."""

    registries: tuple[str, ...] = ()
    digest: bool = False
    severity: str = ""
    unfixed: bool = False
    known_exploited: bool = False
    not_scanned: bool = False
    data_days: float = 0.0
    signed_by: tuple[str, ...] = ()
    sbom: bool = False
    vex_signed_by: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """The registry is asked."""
        return self.scans or bool(self.signed_by or self.vex_signed_by)

    @property
    def scans(self) -> bool:
        """What is in the image matters."""
        return bool(self.severity or self.known_exploited or self.not_scanned or self.data_days or self.sbom)


class Facts(msgspec.Struct, frozen=True):
    """What is known of an image now; `reasons` say why it is not scanned in full. `age_days` is that of the data."""

    flaws: tuple[Flaw, ...] = ()
    reasons: tuple[str, ...] = ()
    age_days: float = 0.0
    digests: tuple[str, ...] = ()
    """Of the image, and of the index it was chosen from."""
    signed_by: str = ""
    """The key that signed it, by name."""
    signed_digest: str = ""
    unsigned: str = ""
    """Why no key is known to have signed it, "" when that was not asked."""
    vex: tuple[Vouched, ...] = ()
    unheard: tuple[str, ...] = ()
    """Why VEX documents beside it are not heard."""


def policy_of(annotations: Mapping[str, str]) -> Policy | None:
    """The policy of a namespace, None when it has none. Raises BadPolicy."""
    given = {key.removeprefix(PREFIX): value.strip() for key, value in annotations.items() if key.startswith(PREFIX)}
    if not given:
        return None
    for key, value in given.items():
        if key not in _KEYS:
            raise BadPolicy(f"{PREFIX}{key}: there is no such setting; there are {', '.join(_KEYS)}")
        if key in _WORDS and value != _WORDS[key]:
            raise BadPolicy(f"{PREFIX}{key}: Invalid value: {value!r}: must be {_WORDS[key]!r}")
    severity = given.get("severity", "")
    if severity and severity not in ("low", "medium", "high", "critical"):
        raise BadPolicy(f"{PREFIX}severity: Invalid value: {severity!r}: there is low, medium, high and critical")
    registries, keys = _listed(given, "registries", "registry"), _listed(given, "signed-by", "key")
    return Policy(
        registries,
        "digest" in given,
        severity,
        "unfixed" in given,
        "known-exploited" in given,
        "not-scanned" in given,
        _days(given.get("data-days", "")),
        keys,
        "sbom" in given,
        _listed(given, "vex-signed-by", "key"),
    )


def _listed(given: Mapping[str, str], key: str, what: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in given.get(key, "").split(",") if part.strip())
    if key in given and not found:
        raise BadPolicy(f"{PREFIX}{key}: Invalid value: '': names no {what}")
    return found


def _days(text: str) -> float:
    if not text:
        return 0.0
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 < days < 10_000:
        raise BadPolicy(f"{PREFIX}data-days: Invalid value: {text!r}: must be a number of days")
    return days


def of_name(policy: Policy, reference: Reference) -> list[str]:
    """What speaks against an image by its name alone."""
    found = []
    name = f"{reference.host}/{reference.path}"
    if policy.registries and not any(_fits(name, pattern) for pattern in policy.registries):
        found.append(f"it is not from {' or '.join(policy.registries)}")
    if policy.digest and not reference.digest:
        found.append("it is not named by digest (write NAME@sha256:…)")
    return found


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or name == pattern or name.startswith(pattern.rstrip("/*") + "/")


def of_facts(policy: Policy, facts: Facts) -> tuple[list[str], list[str]]:
    """What speaks against an image by what is in it, and what is to be warned of."""
    against: list[str] = []
    warnings: list[str] = []
    if policy.signed_by and not facts.signed_by:
        against.append(f"it is not signed by {' or '.join(policy.signed_by)}: {facts.unsigned or 'it was not asked'}")
    if policy.severity:
        least = RATINGS.index(policy.severity)
        bad = [f for f in facts.flaws if RATINGS.index(f.severity) >= least and (f.fixed or policy.unfixed)]
        if bad:
            against.append(f"it has flaws of severity {policy.severity} or worse: {_shown(bad)}")
    exploited = [flaw for flaw in facts.flaws if flaw.kev]
    if policy.known_exploited and exploited:
        against.append(f"it has flaws that are known to be exploited: {_shown(exploited)}")
    if policy.data_days and facts.age_days > policy.data_days:
        against.append(f"the vulnerability data is {facts.age_days:.0f} days old, and {policy.data_days:g} are allowed")
    if facts.reasons:
        text = f"it is not scanned in full: {'; '.join(facts.reasons)[:300]}"
        (against if policy.not_scanned else warnings).append(text)
    warnings += facts.unheard
    return against, warnings


def _shown(flaws: Sequence[Flaw]) -> str:
    texts = [
        f"{flaw.id} in {flaw.package} {flaw.version} (fixed in {flaw.fixed})"
        if flaw.fixed
        else f"{flaw.id} in {flaw.package} {flaw.version} (no fix)"
        for flaw in flaws[:_SHOWN]
    ]
    more = f" and {len(flaws) - _SHOWN} more" if len(flaws) > _SHOWN else ""
    return ", ".join(texts) + more
