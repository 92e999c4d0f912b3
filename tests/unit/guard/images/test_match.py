from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.records import FIXED, INTRODUCED, LAST_AFFECTED, LIMIT, Event, Rule
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.match.flaw import Flaw, remedy
from pilothouse.guard.images.match.ranges import evaluate
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.match.severity import rating
from pilothouse.guard.images.model import Inventory, Package, Placed, Problem, System

BOOKWORM = System("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    base = Base(None)
    yield base
    base.close()


def load(base: Base, folder: Path, name: str, *trees: Any) -> None:
    """Takes a file of JSON lines, or of one document, in."""
    file = folder / name
    file.write_text("\n".join(json.dumps(tree) for tree in trees))
    for result in Updater(base, folder / "downloads").from_path(file):
        assert not result.error, result.error


def osv(ident: str, ecosystem: str, name: str, events: Sequence[dict[str, str]], **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        **more.pop("affected", {}),
    }
    return {"id": ident, "modified": "2024-01-01T00:00:00Z", "affected": [affected], **more}


def debian(source: str, **flaws: dict[str, Any]) -> dict[str, Any]:
    named = {ident.replace("_", "-"): {"description": ident, "releases": flaw} for ident, flaw in flaws.items()}
    return {source: named}


def image(*packages: Package, system: System | None = BOOKWORM) -> Inventory:
    return Inventory("app", "image", system=system, packages=tuple(Placed(package, 0) for package in packages))


def deb(name: str, version: str, source: str = "") -> Package:
    return Package("deb", name, version, source or name, version)


def found(base: Base, *packages: Package, system: System | None = BOOKWORM) -> dict[str, Flaw]:
    return {flaw.id: flaw for flaw in scanned(base, image(*packages, system=system)).flaws}


@pytest.mark.parametrize(
    ("events", "affected", "unaffected"),
    [
        ([(INTRODUCED, "0"), (FIXED, "2.0")], ["1.0", "2.0rc1"], ["2.0", "2.1"]),
        ([(INTRODUCED, "1.0"), (LAST_AFFECTED, "2.0")], ["1.0", "2.0"], ["0.9", "2.0.1"]),
        ([(INTRODUCED, "1.0"), (FIXED, "1.5"), (INTRODUCED, "2.0"), (FIXED, "2.5")], ["1.2", "2.0"], ["1.5", "1.9"]),
        ([(FIXED, "2.5"), (INTRODUCED, "2.0"), (FIXED, "1.5"), (INTRODUCED, "0")], ["1.2", "2.1"], ["1.7", "2.5"]),
        ([(INTRODUCED, "1.0")], ["1.0", "99"], ["0.9"]),
        ([(INTRODUCED, "0"), (LIMIT, "3")], ["1.0"], ["3", "4"]),
    ],
)
def test_ranges(events: list[tuple[str, str]], affected: list[str], unaffected: list[str]) -> None:
    rule = Rule((tuple(Event(*event) for event in events),))
    assert all(evaluate(rule, "pep440", version).affected for version in affected)
    assert not any(evaluate(rule, "pep440", version).affected for version in unaffected)


def test_the_fix_is_the_lowest_above_and_listed_versions_are_in_union_with_ranges() -> None:
    ranges = tuple(
        (Event(INTRODUCED, low), Event(FIXED, high)) for low, high in (("0", "1.5"), ("2.0", "2.5"), ("3.0", "3.1"))
    )
    assert evaluate(Rule(ranges), "pep440", "1.0").fixed == "1.5"
    assert evaluate(Rule(ranges), "pep440", "2.1").fixed == "2.5"
    assert not evaluate(Rule(ranges, ("1.7",)), "pep440", "1.6").affected
    assert evaluate(Rule(ranges, ("1.7",)), "pep440", "1.7").affected
    assert evaluate(Rule(ranges, ("not-a-version",)), "pep440", "not-a-version").affected
    with pytest.raises(ValueError, match="Invalid"):
        evaluate(Rule(ranges), "pep440", "not-a-version")


def test_a_fix_that_is_itself_affected_is_none() -> None:
    # Fixed in 1.5, again in 1.9 because that was not whole; and listed on its own.
    twice = Rule((((Event(INTRODUCED, "0"), Event(FIXED, "1.5"))), (Event(INTRODUCED, "0"), Event(FIXED, "1.9"))))
    assert [evaluate(twice, "pep440", version).fixed for version in ("1.0", "1.6", "1.9")] == ["1.9", "1.9", ""]
    assert evaluate(twice, "pep440", "1.6").affected
    once = Rule(((Event(INTRODUCED, "0"), Event(FIXED, "1.5")),), ("1.5",))
    assert evaluate(once, "pep440", "1.0") == evaluate(once, "pep440", "1.5")
    assert evaluate(once, "pep440", "1.0").fixed == ""


def test_a_rating_may_be_told_of_an_affected_package(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "2.0"}]
    told = {"database_specific": {"severity": "HIGH"}}
    load(base, tmp_path, "one.json", osv("GHSA-1", "PyPI", "one", events, affected=told))
    own = osv("GHSA-2", "PyPI", "two", events, affected=told, database_specific={"severity": "LOW"})
    load(base, tmp_path, "two.json", own)
    packages = [Package("pypi", name, "1.0", name, "1.0") for name in ("one", "two")]
    flaws = found(base, *packages, system=None)
    assert {ident: flaw.severity for ident, flaw in flaws.items()} == {"GHSA-1": "high", "GHSA-2": "high"}


def test_debian_is_matched_by_source_package_and_release(base: Base, tmp_path: Path) -> None:
    resolved = {"status": "resolved", "fixed_version": "3.0.13-1", "urgency": "not yet assigned"}
    tracker = debian(
        "openssl",
        CVE_2024_1={
            "bookworm": {**resolved, "repositories": {"bookworm": "3.0.11-1", "bookworm-security": "3.0.14-1"}}
        },
        CVE_2024_2={"bookworm": {"status": "open", "urgency": "medium", "nodsa": "Minor issue", "nodsa_reason": ""}},
        CVE_2024_3={"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "low"}},
        CVE_2024_4={"bookworm": {"status": "undetermined", "urgency": "low"}},
        CVE_2024_5={"bookworm": {"status": "open", "urgency": "unimportant"}},
        CVE_2024_6={"sid": {**resolved}},
        CVE_2024_7={"bookworm": {**resolved, "fixed_version": "3.0.99-1", "repositories": {"bookworm": "3.0.14-1"}}},
        CVE_2024_8={"bookworm": {"status": "open", "urgency": "low", "nodsa": "x", "nodsa_reason": "ignored"}},
        CVE_2024_9={"bookworm": {"status": "open", "urgency": "end-of-life"}},
    )
    load(base, tmp_path, "tracker.json", tracker)
    flaws = found(base, deb("libssl3", "3.0.11-1", "openssl"), deb("openssl", "3.0.11-1"))
    assert {ident: (flaw.state, flaw.fixed, flaw.severity) for ident, flaw in flaws.items()} == {
        "CVE-2024-1": ("fixed", "3.0.13-1", "unknown"),
        "CVE-2024-2": ("unfixed", "", "medium"),
        "CVE-2024-5": ("unfixed", "", "negligible"),
        "CVE-2024-6": ("unfixed", "", "unknown"),
        "CVE-2024-7": ("unfixed", "", "unknown"),
        "CVE-2024-8": ("will not be fixed", "", "low"),
        "CVE-2024-9": ("end of life", "", "unknown"),
    }
    assert flaws["CVE-2024-1"].packages == ("libssl3", "openssl")
    assert flaws["CVE-2024-2"].reason == "no-dsa: Minor issue"
    assert "not yet looked at" in flaws["CVE-2024-6"].reason
    assert "is not in the archive" in flaws["CVE-2024-7"].reason
    assert found(base, deb("libssl3", "3.0.13-1+b1", "openssl")).keys() == flaws.keys() - {"CVE-2024-1", "CVE-2024-6"}


def test_ids_of_one_flaw_are_one_finding_and_withdrawn_records_none(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "2.0"}]
    load(
        base,
        tmp_path,
        "osv-PyPI.jsonl",
        osv("PYSEC-1", "PyPI", "Django", events, aliases=["CVE-2024-1"], summary="one"),
        osv("GHSA-1", "PyPI", "django", events, aliases=["CVE-2024-1", "PYSEC-1"], severity=_cvss()),
        osv("GHSA-2", "PyPI", "django", events, withdrawn="2024-01-01T00:00:00Z"),
        osv("GHSA-3", "PyPI", "django", [{"introduced": "3.0"}]),
    )
    result = scanned(base, image(Package("pypi", "Django", "1.0"), system=None))
    assert [(flaw.id, flaw.ids) for flaw in result.flaws] == [("CVE-2024-1", ("CVE-2024-1", "GHSA-1", "PYSEC-1"))]
    flaw = result.flaws[0]
    assert (flaw.severity, flaw.score, flaw.fixed, flaw.summary) == ("critical", 9.8, "2.0", "one")
    assert remedy(flaw) == "pip install 'Django>=2.0'"


def _cvss() -> list[dict[str, str]]:
    return [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]


def test_upstream_is_no_alias_but_an_advisory_for_several_flaws_stands_with_each(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "2.0-1"}]
    load(
        base,
        tmp_path,
        "osv-Debian.jsonl",
        osv("DEBIAN-CVE-2024-1", "Debian:12", "x", events, upstream=["CVE-2024-1"]),
        osv("DSA-1-1", "Debian:12", "x", events, upstream=["CVE-2024-1", "CVE-2024-2"]),
    )
    flaws = found(base, deb("x", "1.0-1"))
    assert {ident: flaw.ids for ident, flaw in flaws.items()} == {
        "CVE-2024-1": ("CVE-2024-1", "DEBIAN-CVE-2024-1", "DSA-1-1"),
        "CVE-2024-2": ("CVE-2024-2", "DSA-1-1"),
    }


def test_alpine_matches_the_origin_and_zero_is_never_affected(base: Base, tmp_path: Path) -> None:
    again = ["CVE-2023-4"]
    fixes = {"3.1.4-r3": ["CVE-2023-1", *again], "3.1.4-r5": ["CVE-2023-2", *again], "0": ["CVE-2023-3"]}
    secdb = {"distroversion": "v3.19", "packages": [{"pkg": {"name": "openssl", "secfixes": fixes}}]}
    load(base, tmp_path, "main.json", secdb)
    system = System("alpine", "3.19.1")
    package = Package("apk", "libcrypto3", "3.1.4-r4", "openssl", "3.1.4-r4")
    flaws = found(base, package, system=system)
    assert {ident: flaw.fixed for ident, flaw in flaws.items()} == {
        "CVE-2023-2": "3.1.4-r5",
        "CVE-2023-4": "3.1.4-r5",
    }


def test_red_hat_is_matched_whatever_the_repository(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "1:3.0.7-25.el9_3"}]
    advisory = osv("RHSA-1", "Red Hat:enterprise_linux:9::baseos", "openssl-libs", events, upstream=["CVE-2024-1"])
    load(base, tmp_path, "osv-RedHat.jsonl", advisory)
    package = Package("rpm", "openssl-libs", "1:3.0.7-24.el9", "openssl")
    assert found(base, package, system=System("rhel", "9.3"))["CVE-2024-1"].fixed == "1:3.0.7-25.el9_3"


@pytest.mark.parametrize(
    ("inventory", "reason"),
    [
        (image(deb("x", "1"), system=None), "its operating system is unknown"),
        (image(system=None), "no operating system and no package"),
        (
            image(deb("x", "1"), system=System("obscure", "1", name="Obscure 1")),
            "Obscure 1 is a distribution we have no",
        ),
        (image(deb("x", "1")), "there is no vulnerability data for Debian GNU/Linux 12"),
        (image(system=System("alpine", "3.19")), "without a package database"),
        (image(Package("npm", "x", "1")), "there is no vulnerability data for npm"),
        (image(Package("conan", "x", "1"), system=None), "type conan"),
        (Inventory("a", "image", problems=(Problem("var/lib/rpm/Packages", "Berkeley DB"),)), "Berkeley DB"),
        (Inventory("a", "directory", packages=(Placed(Package("pypi", "x", "")),)), "without an exact version: x"),
        (image(Package("maven", "own", "1"), system=None), "do not say which group they are of: own"),
    ],
)
def test_what_cannot_be_judged_is_not_scanned_with_the_reason(base: Base, inventory: Inventory, reason: str) -> None:
    result = scanned(base, inventory)
    assert any(reason in text for text in result.not_scanned), result.not_scanned
    assert not result.complete


def test_a_release_that_the_tracker_does_not_know_is_not_scanned(base: Base, tmp_path: Path) -> None:
    load(base, tmp_path, "tracker.json", debian("x", CVE_2024_1={"bookworm": {"status": "open"}}))
    assert scanned(base, image(deb("y", "1"))).complete
    old = scanned(base, image(deb("y", "1"), system=System("debian", "8", "jessie", "Debian 8")))
    assert "no data for Debian 8" in old.not_scanned[0]


def test_a_version_that_cannot_be_compared_is_said_so(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "2.0"}]
    load(base, tmp_path, "osv-PyPI.jsonl", osv("GHSA-1", "PyPI", "x", events), osv("GHSA-2", "PyPI", "x", events))
    result = scanned(base, image(Package("pypi", "x", "unreleased!"), system=None))
    assert not result.flaws
    assert "GHSA-1 could not be compared with x" in result.not_scanned[0]


def test_flaws_come_by_real_risk(base: Base, tmp_path: Path) -> None:
    events = [{"introduced": "0"}]
    low, high = (
        [{"type": "CVSS_V3", "score": f"CVSS:3.1/AV:N/AC:H/PR:H/UI:R/S:U/C:{c}/I:{i}/A:N"}] for c, i in ("LN", "HH")
    )
    load(
        base,
        tmp_path,
        "osv-PyPI.jsonl",
        osv("CVE-1", "PyPI", "x", events, severity=low),
        osv("CVE-2", "PyPI", "x", events, severity=high),
        osv("CVE-3", "PyPI", "x", events, severity=high),
        osv("CVE-4", "PyPI", "x", events, severity=low),
    )
    load(base, tmp_path, "kev.json", {"catalogVersion": "1", "vulnerabilities": [{"cveID": "CVE-4", "dateAdded": "d"}]})
    (tmp_path / "epss.csv").write_text("cve,epss,percentile\nCVE-3,0.9,0.99\n")
    list(Updater(base, tmp_path).from_path(tmp_path / "epss.csv"))
    result = scanned(base, image(Package("pypi", "x", "1"), system=None))
    assert [flaw.id for flaw in result.flaws] == ["CVE-4", "CVE-3", "CVE-2", "CVE-1"]


@pytest.mark.parametrize(
    ("own", "common", "wanted"),
    [
        ([], [("CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")], ("critical", 9.8)),
        ([], [("CVSS_V2", "AV:N/AC:L/Au:N/C:P/I:P/A:P")], ("high", 7.5)),
        (
            [],
            [("CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"), ("word", "LOW")],
            ("critical", 9.3),
        ),
        ([], [("word", "MODERATE")], ("medium", 0.0)),
        ([("Ubuntu", "low")], [("CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")], ("low", 9.8)),
        ([("urgency", "not yet assigned")], [], ("unknown", 0.0)),
        ([], [("CVSS_V3", "nonsense")], ("unknown", 0.0)),
    ],
)
def test_ratings(own: list[tuple[str, str]], common: list[tuple[str, str]], wanted: tuple[str, float]) -> None:
    assert rating(own, common)[:2] == wanted


def test_a_remedy_runs_nothing_that_a_name_holds() -> None:
    for kind in ("deb", "rpm", "npm", "cargo", "golang", "nuget"):
        flaw = Flaw("CVE-1", ("CVE-1",), kind, "a; reboot", "1", fixed="2 `id`")
        words = shlex.split(remedy(flaw))
        assert any(word.startswith("a; reboot") for word in words), kind
        assert "reboot" not in words
