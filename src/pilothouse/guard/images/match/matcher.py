"""Which flaws a package has: every advisory of it judged, and those of one flaw merged into one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pilothouse.guard.images.data.base import Base, Known, Risk
from pilothouse.guard.images.data.records import FIXED as FIXED_AT
from pilothouse.guard.images.data.records import NO_FIX_PLANNED, Release, Rule
from pilothouse.guard.images.match.flaw import END_OF_LIFE, FIXED, UNFIXED, WONT_FIX, Flaw
from pilothouse.guard.images.match.ranges import evaluate
from pilothouse.guard.images.match.severity import rating
from pilothouse.guard.images.match.targets import Target, target_of
from pilothouse.guard.images.match.versions import version_key
from pilothouse.guard.images.model import Package, System

_WRAPPED: Final = re.compile(r"^[A-Z]+-(CVE-\d{4}-\d+)$")
"""A distribution's record of exactly one CVE, such as DEBIAN-CVE-2024-1 or UBUNTU-CVE-2024-1."""
_ESM: Final = re.compile(r"esm\d")
"""A version that only subscribers of Ubuntu Pro have."""
_MODULE: Final = ".module"
"""In the release of packages that are built as a part of a module: `.module+el8`, `.module_el8`."""
_PREFERENCE: Final = ("CVE-", "GHSA-", "PYSEC-", "GO-", "RUSTSEC-")


@dataclass(frozen=True, slots=True)
class Hit:
    """An advisory that applies."""

    known: Known
    state: str
    fixed: str = ""
    reason: str = ""
    urgency: str = ""
    """Debian's own, by its tracker."""


Hits = dict[tuple[str, str, str, str, tuple[str, ...]], Hit | None]
"""By ecosystem, name, feed, id and what it answers: all that is said of a package; None for what does not apply."""


class Judged(msgspec.Struct):
    """The flaws of a package, and what could not be judged, with the reason."""

    flaws: list[Flaw] = []
    problems: list[str] = []


def judge(base: Base, package: Package, system: System | None) -> Judged:
    """All flaws of one package; without paths and layers."""
    target = target_of(package, system)
    judged = Judged()
    if target is None:
        return judged
    hits = _applying(base, target.ecosystems, target, judged)
    if target.paid:
        hits = _with_paid(hits, _applying(base, target.paid, target, judged), target.version)
    found = [hit for hit in hits.values() if hit is not None]
    for ids, group in _merged(found):
        judged.flaws.append(_flaw(package, target, ids, group, base.risk(ids)))
    return judged


def _applying(base: Base, ecosystems: Sequence[str], target: Target, judged: Judged) -> Hits:
    found: Hits = {}
    for ecosystem in ecosystems:
        for name in target.names:
            for known in base.lookup(ecosystem, name):
                if known.advisory.withdrawn:
                    continue
                try:
                    hit = _hit(known, target)
                except ValueError as error:
                    reason = f"{known.advisory.id} could not be compared with {target.names[0]}: {error}"
                    judged.problems.append(reason)
                    continue
                key = (ecosystem, name, known.feed, known.advisory.id, known.advisory.upstream)
                found[key] = found.get(key) or hit
    return found


def _with_paid(plain: Hits, paid: Hits, version: str) -> Hits:
    """With what is said of Ubuntu Pro: it decides about its own versions; to others its fixes are a reason only."""
    found = dict(plain)
    places = {key[1:]: key for key in plain}
    for key, hit in paid.items():
        if not _WRAPPED.match(key[3]):
            continue  # notices repeat what the records of flaws say
        place = places.get(key[1:], key)
        free = plain.get(place)
        if _ESM.search(version):
            found[place] = hit
        elif hit is not None and (place not in plain or (free is not None and not free.fixed)):
            reason = f"fixed in {hit.fixed} for subscribers of Ubuntu Pro" if hit.fixed else ""
            found[place] = Hit(hit.known, UNFIXED, "", reason)
    return found


def _hit(known: Known, target: Target) -> Hit | None:
    rule = known.rule
    if rule.releases:
        return _debian_hit(known, target)
    if target.order == "rpm":
        rule = _of_module(rule, target.version)
    verdict = evaluate(rule, target.order, target.version)
    if not verdict.affected:
        return None
    if verdict.fixed:
        return Hit(known, FIXED, verdict.fixed)
    return Hit(known, WONT_FIX if rule.reason.startswith(NO_FIX_PLANNED) else UNFIXED, "", rule.reason)


def _of_module(rule: Rule, version: str) -> Rule:
    """Without ranges that a module's build ends and the package is of none, or the other way round: their versions
    have nothing to do with each other."""
    modular = _MODULE in version
    ranges = tuple(
        part
        for part in rule.ranges
        if all((_MODULE in event.version) == modular for event in part if event.kind == FIXED_AT)
    )
    return rule if len(ranges) == len(rule.ranges) else msgspec.structs.replace(rule, ranges=ranges)


def _debian_hit(known: Known, target: Target) -> Hit | None:
    """By Debian's tracker; what has no entry for the release is judged as in sid, from where fixes come."""
    own = known.rule.releases.get(target.release)
    release = own or known.rule.releases.get("sid")
    if release is None or release.status == "undetermined" or release.fixed == "0":
        return None
    if release.fixed and version_key("dpkg", target.version) >= version_key("dpkg", release.fixed):
        return None
    urgency = release.urgency
    if own is None:
        return Hit(known, UNFIXED, "", f"not yet looked at for {target.release}", urgency)
    if release.fixed and not _beyond(release):
        return Hit(known, FIXED, release.fixed, release.reason, urgency)
    reason = release.reason
    if release.fixed:
        reason = reason or f"{release.fixed} is not in the archive of {target.release} yet"
    if release.urgency == "end-of-life":
        return Hit(known, END_OF_LIFE, "", reason or "no longer supported by Debian", urgency)
    return Hit(known, WONT_FIX if reason.startswith("ignored") else UNFIXED, "", reason, urgency)


def _beyond(release: Release) -> bool:
    """The fix is newer than all that the release's archive offers."""
    return bool(release.archive) and version_key("dpkg", release.archive) < version_key("dpkg", release.fixed)


def _identities(known: Known) -> list[str]:
    """All names of the flaw an advisory is about."""
    advisory = known.advisory
    ids = [advisory.id, *advisory.aliases]
    match = _WRAPPED.match(advisory.id)
    if match:
        ids.append(match[1])
    return ids


def _merged(hits: Sequence[Hit]) -> list[tuple[tuple[str, ...], list[Hit]]]:
    """Hits of one flaw together, by the names they share. An advisory for several CVEs stands with each of them."""
    groups: list[tuple[set[str], list[Hit]]] = []
    for hit in hits:
        for ids in _each(hit.known):
            touching = [group for group in groups if group[0] & ids]
            names, members = set(ids), [hit]
            for group in touching:
                names |= group[0]
                members = [*group[1], *members]
                groups.remove(group)
            groups.append((names, members))
    return [(tuple(sorted(names, key=by_preference)), _unique(members)) for names, members in groups]


def _unique(hits: list[Hit]) -> list[Hit]:
    return list({id(hit): hit for hit in hits}.values())


def _each(known: Known) -> list[set[str]]:
    ids = _identities(known)
    for prefix in ("CVE-", "GHSA-"):
        answered = [ident for ident in known.advisory.upstream if ident.startswith(prefix)]
        if any(ident.startswith(prefix) for ident in ids):
            break
        if answered:
            # DSA, RHSA, USN …: a distribution's answer to several flaws; its own id is none of a flaw.
            return [{ident} for ident in answered]
    return [set(ids)]


def by_preference(ident: str) -> tuple[int, str]:
    """Sorts ids, the one that is best known first."""
    for number, prefix in enumerate(_PREFERENCE):
        if ident.startswith(prefix):
            return number, ident
    return len(_PREFERENCE), ident


def _flaw(package: Package, target: Target, ids: tuple[str, ...], hits: list[Hit], risk: Risk) -> Flaw:
    names = [*ids, *(hit.known.advisory.id for hit in hits if hit.known.advisory.id not in ids)]
    own = [pair for hit in hits for pair in hit.known.rule.severity]
    own += [("urgency", hit.urgency) for hit in hits if hit.urgency]
    common = [pair for hit in hits for pair in hit.known.advisory.severity]
    severity, score, vector = rating(own, common)
    if any(ident.startswith("MAL-") for ident in names):
        severity = "critical"
    state, fixed, reason = _outcome(hits, target)
    source = package.source or package.name
    return Flaw(
        names[0],
        tuple(dict.fromkeys(names)),
        package.type,
        source,
        package.version,
        (package.name,) if package.name != source else (),
        (),
        (),
        severity,
        score,
        vector,
        state,
        fixed,
        reason,
        next((hit.known.advisory.summary for hit in hits if hit.known.advisory.summary), ""),
        tuple(dict.fromkeys(link for hit in hits for link in hit.known.advisory.references))[:3],
        tuple(dict.fromkeys(hit.known.feed for hit in hits)),
        risk.epss,
        risk.percentile,
        risk.kev,
        risk.ransomware,
    )


def _outcome(hits: list[Hit], target: Target) -> tuple[str, str, str]:
    """State, lowest fix and reason: the distribution's own tracker before others, a fix before none."""
    preferred = [hit for hit in hits if hit.known.rule.releases] or hits
    fixes = [hit.fixed for hit in preferred if hit.fixed]
    reason = next((hit.reason for hit in preferred if hit.reason), "")
    if fixes:
        return FIXED, min(fixes, key=lambda version: version_key(target.order, version)), reason
    return preferred[0].state, "", reason
