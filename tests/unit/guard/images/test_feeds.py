"""Records in the forms that each publisher has, and what they say of a package. The records are made for this test."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from backports.zstd import compress
from known_layers import tar_of

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.names import stands_for
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.model import Inventory, Package, Placed, System

HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
JAMMY, BIONIC = System("ubuntu", "22.04", "jammy"), System("ubuntu", "18.04", "bionic")
ROCKY8, RHEL9, RHEL10 = System("rocky", "8.9"), System("rhel", "9.4"), System("rhel", "10.1")
SLES15, LEAP = System("sles", "15.5"), System("opensuse-leap", "15.6")
OPENEULER = System("openeuler", "22.03", name="openEuler 22.03 (LTS-SP4)")


def record(ident: str, *affected: dict[str, Any], **more: Any) -> dict[str, Any]:
    times = {"published": "2024-03-01T00:00:00Z", "modified": "2024-03-02T00:00:00Z"}
    return {"schema_version": "1.7.0", "id": ident, **times, "affected": list(affected), **more}


def affects(
    ecosystem: str, name: str, *events: tuple[str, str], kind: str = "ECOSYSTEM", **more: Any
) -> dict[str, Any]:
    ranges = [{"type": kind, "events": [{key: value} for key, value in events]}] if events else []
    return {"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges, **more}


def until(version: str) -> tuple[tuple[str, str], ...]:
    return ("introduced", "0"), ("fixed", version)


def deb(version: str, source: str = "expat") -> Package:
    return Package("deb", f"lib{source}1", version, source, version)


def rpm(name: str, version: str, source: str = "") -> Package:
    return Package("rpm", name, version, source or name)


@dataclass(frozen=True)
class Case:
    """A record, and by installed version what is to be said: (id, state, fixed, severity), or None for nothing."""

    record: dict[str, Any]
    system: System | None
    wanted: dict[Package, tuple[str, str, str, str] | None]


UBUNTU = record(
    "UBUNTU-CVE-2024-1",
    affects("Ubuntu:22.04:LTS", "expat", *until("2.4.7-1ubuntu0.3"), versions=["2.4.7-1"], ecosystem_specific={}),
    affects("Ubuntu:18.04:LTS", "expat", ("introduced", "0")),
    affects("Ubuntu:Pro:18.04:LTS", "expat", *until("2.2.5-3ubuntu0.9+esm1")),
    affects("Ubuntu:Pro:FIPS-updates:22.04:LTS", "expat", *until("99")),
    upstream=["CVE-2024-1"],
    severity=[{"type": "CVSS_V3", "score": HIGH}, {"type": "Ubuntu", "score": "medium"}],
)
CASES = {
    "ubuntu": Case(
        UBUNTU,
        JAMMY,
        {deb("2.4.7-1"): ("CVE-2024-1", "fixed", "2.4.7-1ubuntu0.3", "medium"), deb("2.4.7-1ubuntu0.3"): None},
    ),
    "ubuntu pro": Case(
        UBUNTU,
        BIONIC,
        {
            deb("2.2.5-3ubuntu0.9"): ("CVE-2024-1", "unfixed", "", "medium"),
            deb("2.2.5-3ubuntu0.9+esm1"): None,
            deb("2.2.5-3ubuntu0.8+esm1"): ("CVE-2024-1", "fixed", "2.2.5-3ubuntu0.9+esm1", "medium"),
        },
    ),
    "ubuntu before schema 1.7": Case(
        record("USN-1-1", affects("Ubuntu:22.04:LTS", "expat", *until("3")), related=["CVE-2024-5", "LP-1"]),
        JAMMY,
        {deb("2.4.7-1"): ("CVE-2024-5", "fixed", "3", "unknown")},
    ),
    "debian": Case(
        record(
            "DEBIAN-CVE-2024-2",
            affects("Debian:12", "expat", *until("2.5.0-1+deb12u1"), ecosystem_specific={"urgency": "low"}),
            affects("Debian:13", "expat", *until("2.6.1-2")),
            upstream=["CVE-2024-2"],
        ),
        System("debian", "12", "bookworm"),
        {deb("2.5.0-1"): ("CVE-2024-2", "fixed", "2.5.0-1+deb12u1", "low"), deb("2.5.0-1+deb12u1"): None},
    ),
    "red hat, whatever the repository": Case(
        record(
            "RHSA-2024:1530",
            affects("Red Hat:enterprise_linux:9::baseos", "expat", *until("0:2.5.0-1.el9_3.1")),
            affects("Red Hat:enterprise_linux:9::appstream", "expat-devel", *until("0:2.5.0-1.el9_3.1")),
            affects("Red Hat:enterprise_linux:8::baseos", "expat", *until("0:2.2.5-11.el8_9.1")),
            affects("Red Hat:rhel_eus:9.2::baseos", "expat", *until("0:99")),
            related=["CVE-2024-3"],
            severity=[{"type": "CVSS_V3", "score": HIGH}],
        ),
        RHEL9,
        {
            rpm("expat-devel", "2.5.0-1.el9", "expat"): ("CVE-2024-3", "fixed", "0:2.5.0-1.el9_3.1", "high"),
            rpm("expat", "2.5.0-1.el9_3.1"): None,
        },
    ),
    "red hat since 10": Case(
        record("RHSA-2025:1", affects("Red Hat:enterprise_linux:10.0", "expat", *until("2.7.1-2.el10")), upstream=[]),
        RHEL10,
        {rpm("expat", "2.7.1-1.el10"): ("RHSA-2025:1", "fixed", "2.7.1-2.el10", "unknown")},
    ),
    "rocky, a package of a module": Case(
        record("RLSA-2024:1", affects("Rocky Linux:8", "nodejs", *until("1:18.19.0-1.module+el8.9.0+1+2"))),
        ROCKY8,
        {
            rpm("nodejs", "1:18.18.0-1.module+el8.8.0+3+4"): (
                *("RLSA-2024:1", "fixed"),
                *("1:18.19.0-1.module+el8.9.0+1+2", "unknown"),
            ),
            rpm("nodejs", "1:16.0.0-1.el8"): None,
        },
    ),
    "suse files packages under modules": Case(
        record(
            "SUSE-SU-2024:1-1",
            affects("SUSE:Linux Enterprise Module for Basesystem 15 SP5", "expat", *until("2.4.4-150400.3.17.1")),
            affects("SUSE:Linux Enterprise Server 12 SP5", "expat", *until("9")),
            affects("SUSE:Linux Enterprise Server 15 SP4-LTSS", "expat", *until("9")),
            related=["CVE-2024-4"],
        ),
        SLES15,
        {
            rpm("libexpat1", "2.4.4-150400.3.9.1", "expat"): ("CVE-2024-4", "fixed", "2.4.4-150400.3.17.1", "unknown"),
            rpm("libexpat1", "2.4.4-150400.3.17.1", "expat"): None,
        },
    ),
    "suse after the general support": Case(
        record("SUSE-SU-2025:1-1", affects("SUSE:Linux Enterprise Server 15 SP5-LTSS", "expat", *until("3"))),
        SLES15,
        {rpm("expat", "2"): ("SUSE-SU-2025:1-1", "fixed", "3", "unknown")},
    ),
    "opensuse": Case(
        record("openSUSE-SU-2024:1-1", affects("openSUSE:Leap 15.6", "expat", *until("2.4.4-150400.3.17.1"))),
        LEAP,
        {rpm("libexpat1", "2.4.4-1", "expat"): ("openSUSE-SU-2024:1-1", "fixed", "2.4.4-150400.3.17.1", "unknown")},
    ),
    "openeuler by its service pack": Case(
        record("OESA-2024-1", affects("openEuler:22.03-LTS-SP4", "expat", *until("2.4.8-8.oe2203sp4"))),
        OPENEULER,
        {rpm("expat", "2.4.8-7.oe2203sp4"): ("OESA-2024-1", "fixed", "2.4.8-8.oe2203sp4", "unknown")},
    ),
    "azure linux writes no epochs": Case(
        record("AZL-1", affects("Azure Linux:3", "openssl", *until("3.3.2-1")), aliases=["CVE-2024-6"]),
        System("azurelinux", "3.0"),
        {
            rpm("openssl-libs", "1:3.3.0-2.azl3", "openssl"): ("CVE-2024-6", "fixed", "3.3.2-1", "unknown"),
            rpm("openssl", "1:3.3.2-1.azl3"): None,
        },
    ),
    "alpine": Case(
        record("ALPINE-CVE-2024-7", affects("Alpine:v3.20", "expat", *until("2.6.2-r0")), upstream=["CVE-2024-7"]),
        System("alpine", "3.20.3"),
        {
            Package("apk", "libexpat", "2.6.1-r0", "expat"): ("CVE-2024-7", "fixed", "2.6.2-r0", "unknown"),
            Package("apk", "libexpat", "2.6.2-r0", "expat"): None,
        },
    ),
    "wolfi answers a flaw that has no CVE": Case(
        record("CGA-1", affects("Wolfi", "py3-x", *until("1.2-r3")), upstream=["GHSA-aaaa-bbbb-cccc"]),
        System("wolfi", "20230201"),
        {Package("apk", "py3-x", "1.2-r2"): ("GHSA-aaaa-bbbb-cccc", "fixed", "1.2-r3", "unknown")},
    ),
    "pypi by version 4 of CVSS": Case(
        record(
            "GHSA-dddd-eeee-ffff",
            affects("PyPI", "Flask_Login", ("introduced", "1.0"), ("last_affected", "1.4")),
            aliases=["CVE-2024-8"],
            severity=[{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}],
            database_specific={"severity": "MODERATE"},
        ),
        None,
        {
            Package("pypi", "flask-login", "1.4"): ("CVE-2024-8", "unfixed", "", "critical"),
            Package("pypi", "Flask.Login", "1.4.post1"): None,
            Package("pypi", "flask-login", "0.9"): None,
        },
    ),
    "malicious releases are listed one by one": Case(
        record("MAL-2024-1", affects("PyPI", "requezts", versions=["1.0.0"])),
        None,
        {
            Package("pypi", "requezts", "1.0"): ("MAL-2024-1", "unfixed", "", "critical"),
            Package("pypi", "requezts", "1.1"): None,
        },
    ),
    "commits say nothing of releases": Case(
        record("GO-2024-1", affects("Go", "example.com/m", ("introduced", "0"), kind="GIT")),
        None,
        {Package("golang", "example.com/m", "v1.0.0"): None},
    ),
    "go's standard library before a release": Case(
        record(
            "GO-2024-2", affects("Go", "stdlib", ("introduced", "1.22.0-0"), ("fixed", "1.22.0-rc.2"), kind="SEMVER")
        ),
        None,
        {
            Package("golang", "stdlib", "1.22rc1"): ("GO-2024-2", "fixed", "1.22.0-rc.2", "unknown"),
            Package("golang", "stdlib", "1.22rc2"): None,
        },
    ),
    "packagist before a release": Case(
        record("GHSA-1111-2222-3333", affects("Packagist", "Acme/Kit", *until("2.0.0-beta10"))),
        None,
        {
            Package("composer", "acme/kit", "v2.0.0-beta9"): (
                "GHSA-1111-2222-3333",
                "fixed",
                "2.0.0-beta10",
                "unknown",
            ),
            Package("composer", "acme/kit", "2.0.0-RC1"): None,
        },
    ),
    "nuget": Case(
        record("GHSA-4444-5555-6666", affects("NuGet", "Acme.Kit", *until("2.0.0.1"), severity=[])),
        None,
        {
            Package("nuget", "acme.kit", "2.0.0"): ("GHSA-4444-5555-6666", "fixed", "2.0.0.1", "unknown"),
            Package("nuget", "Acme.Kit", "2.0.0.1"): None,
        },
    ),
    "withdrawn": Case(
        record("PYSEC-2024-1", affects("PyPI", "x", *until("2")), withdrawn="2024-04-01T00:00:00Z"),
        None,
        {Package("pypi", "x", "1"): None},
    ),
}


@pytest.fixture
def base() -> Iterator[Base]:
    base = Base(None)
    yield base
    base.close()


def take(base: Base, folder: Path, name: str, data: bytes) -> None:
    file = folder / name
    file.write_bytes(data)
    for result in Updater(base, folder / "downloads").from_path(file):
        assert not result.error, result.error
        assert result.counts is not None
        assert not result.counts.broken


def all_zip(*records: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in records:
            archive.writestr(f"{entry['id']}.json", json.dumps(entry))
    return out.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_records_of_each_publisher(name: str, base: Base, tmp_path: Path) -> None:
    case = CASES[name]
    take(base, tmp_path, "all.zip", all_zip(case.record))
    for package, wanted in case.wanted.items():
        found = scanned(base, Inventory("x", "image", system=case.system, packages=(Placed(package),))).flaws
        assert [(flaw.id, flaw.state, flaw.fixed, flaw.severity) for flaw in found] == ([wanted] if wanted else [])


def test_what_subscribers_get_is_a_reason(base: Base, tmp_path: Path) -> None:
    take(base, tmp_path, "all.zip", all_zip(UBUNTU))
    (flaw,) = scanned(base, Inventory("x", "image", system=BIONIC, packages=(Placed(deb("2.2.5-3")),))).flaws
    assert flaw.reason == "fixed in 2.2.5-3ubuntu0.9+esm1 for subscribers of Ubuntu Pro"


def test_scores_and_exploited_flaws_in_the_forms_they_are_published(base: Base, tmp_path: Path) -> None:
    lines = "#model_version:v2025.03.14,score_date:2026-01-01T00:00:00Z\ncve,epss,percentile\nCVE-2024-1,0.94,0.99\n"
    take(base, tmp_path, "epss_scores-2026-01-01.csv.gz", gzip.compress(lines.encode()))
    entry = {
        "cveID": "CVE-2024-1",
        "vendorProject": "Example",
        "dateAdded": "2024-05-01",
        "dueDate": "2024-05-22",
        "knownRansomwareCampaignUse": "Known",
        "cwes": [],
    }
    catalogue = {"title": "KEV", "catalogVersion": "2026.01.01", "count": 1, "vulnerabilities": [entry]}
    take(base, tmp_path, "known_exploited_vulnerabilities.json", json.dumps(catalogue).encode())
    risk = base.risk(["GHSA-1", "CVE-2024-1"])
    assert (risk.epss, risk.percentile, risk.kev, risk.ransomware) == (0.94, 0.99, "2024-05-01", True)


def test_a_secdb_of_a_repository_with_several_ids_in_a_line(base: Base, tmp_path: Path) -> None:
    fixes = {"1.36.1-r1": ["CVE-2023-42363 CVE-2023-42364", "ALPINE-13661"], "0": ["CVE-2021-42377"], "1.35-r0": None}
    tree = {
        "apkurl": "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
        "archs": ["x86_64"],
        "reponame": "main",
        "urlprefix": "https://dl-cdn.alpinelinux.org/alpine",
        "distroversion": "v3.20",
        "packages": [{"pkg": {"name": "busybox", "secfixes": fixes}}],
    }
    take(base, tmp_path, "main.json", json.dumps(tree).encode())
    package = Placed(Package("apk", "ssl_client", "1.36.1-r0", "busybox"))
    found = scanned(base, Inventory("x", "image", system=System("alpine", "3.20.3"), packages=(package,)))
    assert {(flaw.id, flaw.fixed) for flaw in found.flaws} == {
        ("CVE-2023-42363", "1.36.1-r1"),
        ("CVE-2023-42364", "1.36.1-r1"),
        ("ALPINE-13661", "1.36.1-r1"),
    }
    assert found.complete


def tar_of_records(*records: dict[str, Any]) -> bytes:
    return tar_of({"osv/": b"", **{f"osv/cve/{each['id']}.json": json.dumps(each).encode() for each in records}})


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, compress], ids=["tar", "gzip", "xz", "zstd"])
def test_a_tar_of_records_as_ubuntu_publishes_it(pack: Callable[[bytes], bytes], base: Base, tmp_path: Path) -> None:
    other = {**UBUNTU, "id": "UBUNTU-CVE-2024-2", "upstream": ["CVE-2024-2"]}
    take(base, tmp_path, "osv-all.tar.xz", pack(tar_of_records(UBUNTU, other)))
    found = scanned(base, Inventory("x", "image", system=JAMMY, packages=(Placed(deb("2.4.7-1")),)))
    assert [flaw.id for flaw in found.flaws] == ["CVE-2024-1", "CVE-2024-2"]
    assert found.complete


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, compress], ids=["gzip", "xz", "zstd"])
def test_a_tar_that_is_cut_short_leaves_the_last_good_data(
    pack: Callable[[bytes], bytes], base: Base, tmp_path: Path
) -> None:
    take(base, tmp_path, "osv-all.tar", pack(tar_of_records(UBUNTU)))
    whole = pack(tar_of_records({**UBUNTU, "id": "UBUNTU-CVE-2024-3", "summary": "x" * 1000}))
    (tmp_path / "osv-all.tar").write_bytes(whole[:-20])
    (result,) = Updater(base, tmp_path / "downloads").from_path(tmp_path / "osv-all.tar")
    assert result.error
    assert base.lookup("Ubuntu:22.04:LTS", "expat")[0].advisory.id == "UBUNTU-CVE-2024-1"


@pytest.mark.parametrize(
    ("pattern", "ecosystem", "wanted"),
    [
        ("SUSE:* 15 SP5", "SUSE:Linux Enterprise Module for Basesystem 15 SP5", True),
        ("SUSE:* 15 SP5", "SUSE:Linux Enterprise Server 15 SP50", False),
        ("SUSE:* 15 SP5", "SUSE: 15 SP", False),
        ("Red Hat:enterprise_linux:9::*", "Red Hat:enterprise_linux:9::crb", True),
        ("Debian:1", "Debian:12", False),
        ("ab*ba", "aba", False),
    ],
)
def test_patterns_of_ecosystems(pattern: str, ecosystem: str, wanted: bool) -> None:
    assert stands_for(pattern, ecosystem) is wanted
