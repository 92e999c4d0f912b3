"""Reports of other scanners, written here by their documented forms."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from known_layers import DEBIAN, status, tar_of, write_layout

from pilothouse.cli.scan import ScanOptions, run_scan
from pilothouse.cli.vulndb import run_update
from pilothouse.guard.images.data.base import Risk
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.others.entries import together
from pilothouse.guard.images.others.report import result_of

VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
LAYERS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]


def trivy_package(name: str) -> dict[str, Any]:
    url = f"pkg:deb/debian/{name}@3.0.11-1?arch=amd64&distro=debian-12.5"
    identifier = {"PURL": url, "UID": "x"}
    return {"ID": f"{name}@3.0.11-1", "Name": name, "Identifier": identifier, "Version": "3.0.11", "Release": "1"}


def trivy_flaw(name: str, **more: Any) -> dict[str, Any]:
    package = trivy_package(name)
    return {
        "VulnerabilityID": "CVE-2024-1",
        "PkgID": package["ID"],
        "PkgName": name,
        "PkgIdentifier": package["Identifier"],
        "InstalledVersion": "3.0.11-1",
        "FixedVersion": "3.0.13-1",
        "Status": "fixed",
        "Layer": {"Digest": "sha256:blob", "DiffID": LAYERS[1]},
        "SeveritySource": "debian",
        "PrimaryURL": "https://avd.example/cve-2024-1",
        "Title": "openssl: a flaw",
        "Severity": "HIGH",
        "CVSS": {"nvd": {"V3Vector": VECTOR, "V3Score": 9.8}, "ghsa": {"V2Vector": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}},
        **more,
    }


def trivy(**more: Any) -> dict[str, Any]:
    os_packages = [
        trivy_package(name) | {"SrcName": "openssl", "SrcVersion": "3.0.11"} for name in ("libssl3", "openssl")
    ]
    unfixed = {"VulnerabilityID": "CVE-2024-2", "FixedVersion": "", "Status": "will_not_fix", "Severity": "LOW"}
    gem = {
        "VulnerabilityID": "GHSA-aaaa",
        "VendorIDs": ["GHSA-aaaa"],
        "PkgName": "rack",
        "PkgPath": "app/rack.gemspec",
        "InstalledVersion": "2.0",
        "FixedVersion": "2.1, 3.0",
        "Severity": "UNKNOWN",
        "CVSS": None,
    }
    return {
        "SchemaVersion": 2,
        "CreatedAt": "2024-05-01T00:00:00Z",
        "ArtifactName": "registry.example/app:1",
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.5"},
            "DiffIDs": LAYERS,
            "RepoDigests": ["registry.example/app@sha256:" + "a" * 64],
            "ImageConfig": {"architecture": "amd64", "config": {"User": "1000"}},
        },
        "Results": [
            {
                "Target": "registry.example/app:1 (debian 12.5)",
                "Class": "os-pkgs",
                "Type": "debian",
                "Packages": os_packages,
                "Vulnerabilities": [
                    trivy_flaw("libssl3"),
                    trivy_flaw("openssl"),
                    trivy_flaw("libssl3", **unfixed),
                ],
            },
            {"Target": "Ruby", "Class": "lang-pkgs", "Type": "gemspec", "Vulnerabilities": [gem]},
            {
                "Target": "/app/key.pem",
                "Class": "secret",
                "Secrets": [
                    {
                        "RuleID": "private-key",
                        "Category": "AsymmetricPrivateKey",
                        "Severity": "HIGH",
                        "Title": "Asymmetric Private Key",
                        "StartLine": 1,
                        "EndLine": 1,
                        "Match": "****",
                    }
                ],
            },
        ],
        **more,
    }


def grype(matches: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    target = {
        "userInput": "registry.example/app:1",
        "manifestDigest": "sha256:" + "a" * 64,
        "layers": [{"mediaType": "x", "digest": digest, "size": 1} for digest in LAYERS],
    }
    return {
        "matches": list(matches),
        "source": {"type": "image", "target": target},
        "distro": {"name": "debian", "version": "12", "idLike": []},
        "descriptor": {"name": "grype", "version": "0.80.0"},
        **more,
    }


def grype_match(name: str, **more: Any) -> dict[str, Any]:
    vulnerability = {
        "id": "CVE-2024-1",
        "dataSource": "https://tracker.example/CVE-2024-1",
        "namespace": "debian:distro:debian:12",
        "severity": "Critical",
        "description": "a flaw",
        "cvss": [],
        "fix": {"versions": ["3.0.13-1"], "state": "fixed"},
        "epss": [{"cve": "CVE-2024-1", "epss": 0.25, "percentile": 0.9, "date": "2024-05-01"}],
        "knownExploited": [{"cve": "CVE-2024-1", "dateAdded": "2024-04-01", "knownRansomwareCampaignUse": "Known"}],
        **more,
    }
    related = {"id": "CVE-2024-1", "cvss": [{"version": "3.1", "vector": VECTOR, "metrics": {"baseScore": 9.8}}]}
    artifact = {
        "name": name,
        "version": "3.0.11-1",
        "type": "deb",
        "locations": [{"path": "/var/lib/dpkg/status", "layerID": LAYERS[1]}],
        "purl": f"pkg:deb/debian/{name}@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl",
        "upstreams": [{"name": "openssl"}],
    }
    return {
        "vulnerability": vulnerability,
        "relatedVulnerabilities": [related],
        "matchDetails": [],
        "artifact": artifact,
    }


def read(tree: object, risk: Risk | None = None) -> Result:
    return result_of(json.dumps(tree).encode(), "report.json", lambda ids: risk or Risk())


def test_trivys_report_becomes_our_findings() -> None:
    result = read(trivy(), Risk(0.5, 0.9, "2024-01-01"))
    first, second, third = result.flaws
    assert (first.id, first.package, first.packages, first.layers) == (
        "CVE-2024-1",
        "openssl",
        ("libssl3", "openssl"),
        (1,),
    )
    assert (first.type, first.version, first.state, first.fixed) == ("deb", "3.0.11-1", "fixed", "3.0.13-1")
    assert (first.severity, first.score, first.epss, first.kev) == ("high", 9.8, 0.5, "2024-01-01")
    assert (first.summary, first.feeds) == ("openssl: a flaw", ("trivy",))
    assert (second.id, second.type, second.package, second.severity) == ("GHSA-aaaa", "gem", "rack", "unknown")
    assert (second.fixed, second.paths) == ("2.1", ("app/rack.gemspec",))
    assert (third.id, third.state, third.severity) == ("CVE-2024-2", "will not be fixed", "low")
    inventory = result.inventory
    assert (inventory.name, inventory.digest) == ("registry.example/app:1", "sha256:" + "a" * 64)
    assert str(inventory.system) == "debian 12.5"
    assert [(trace.kind, trace.path) for trace, _ in inventory.traces] == [("secret", "app/key.pem")]
    assert result.complete


def test_grypes_report_becomes_our_findings() -> None:
    result = read(grype([grype_match("libssl3"), grype_match("openssl")], ignoredMatches=[{}]))
    (flaw,) = result.flaws
    assert (flaw.id, flaw.package, flaw.packages, flaw.layers) == (
        "CVE-2024-1",
        "openssl",
        ("libssl3", "openssl"),
        (1,),
    )
    assert (flaw.severity, flaw.score, flaw.epss, flaw.kev, flaw.ransomware) == (
        "critical",
        9.8,
        0.25,
        "2024-04-01",
        True,
    )
    assert (flaw.state, flaw.fixed, flaw.feeds) == ("fixed", "3.0.13-1", ("grype",))
    assert "1 matches that Grype was told to ignore" in result.inventory.notes


def test_another_name_of_a_flaw_is_merged_under_the_cve() -> None:
    match = grype_match("x", id="GHSA-aaaa", fix={"versions": [], "state": "wont-fix"}, epss=None, knownExploited=None)
    (flaw,) = read(grype([match]), Risk(0.1)).flaws
    assert (flaw.id, flaw.ids, flaw.state, flaw.epss) == (
        "CVE-2024-1",
        ("CVE-2024-1", "GHSA-aaaa"),
        "will not be fixed",
        0.1,
    )


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (trivy(Results=None), "names nothing that it looked at"),
        (grype([], distro={"name": ""}), "recognised no system and found no match"),
    ],
)
def test_a_report_about_nothing_is_no_clean_bill(tree: dict[str, Any], reason: str) -> None:
    result = read(tree)
    assert not result.complete
    assert reason in result.not_scanned[0]


def test_a_clean_report_is_clean() -> None:
    assert read(grype([])).complete
    assert read(trivy(Results=[{"Target": "x", "Type": "debian", "Packages": [trivy_package("a")]}])).complete


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "no JSON"),
        (b"[]", "neither Trivy's JSON"),
        (b'{"bomFormat": "CycloneDX"}', "neither Trivy's JSON"),
        (json.dumps(trivy(SchemaVersion=3)).encode(), "schema 3; 2 is read"),
        (json.dumps(trivy(Results=[{"Vulnerabilities": [{}]}])).encode(), "no report of Trivy that we understand"),
        (json.dumps(grype([{}])).encode(), "no report of Grype that we understand"),
    ],
)
def test_what_is_no_report_is_told(data: bytes, reason: str) -> None:
    with pytest.raises(NotReadable, match=reason):
        result_of(data, "report.json", lambda ids: Risk())


def test_a_flaw_that_both_know_is_one_and_says_who_does() -> None:
    ours = Flaw("CVE-1", ("CVE-1", "GHSA-1"), "deb", "openssl", "1", packages=("libssl3",), feeds=("debian",))
    same = Flaw("GHSA-1", ("GHSA-1",), "deb", "libssl3", "1", feeds=("trivy",), severity="critical")
    more = Flaw("CVE-2", ("CVE-2",), "deb", "libssl3", "1", feeds=("trivy",), kev="2024")
    other_type = Flaw("CVE-1", ("CVE-1",), "pypi", "openssl", "1", feeds=("trivy",))
    found = together([ours], [same, more, other_type])
    assert [(flaw.id, flaw.type, flaw.feeds) for flaw in found] == [
        ("CVE-2", "deb", ("trivy",)),
        ("CVE-1", "deb", ("debian", "trivy")),
        ("CVE-1", "pypi", ("trivy",)),
    ]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PILOTHOUSE_VULNDB", str(tmp_path / "vulndb"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin")
    release = {"status": "resolved", "fixed_version": "3.0.13-1", "urgency": "high"}
    (tmp_path / "tracker.json").write_text(json.dumps({"openssl": {"CVE-2024-1": {"releases": {"bookworm": release}}}}))
    assert run_update(str(tmp_path / "tracker.json"), "") == 0
    return tmp_path


def program(places: Path, name: str, report: object, code: int = 0) -> Path:
    """A scanner that writes down how it was called."""
    (places / "bin").mkdir(exist_ok=True)
    file = places / "bin" / name
    (places / f"{name}.json").write_text(json.dumps(report))
    file.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"pathlib.Path({str(places / 'called')!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"print(pathlib.Path({str(places / f'{name}.json')!r}).read_text())\n"
        f"sys.exit('it broke' if {code} else 0)\n"
    )
    file.chmod(0o755)
    return places / "called"


def test_reports_are_told_as_scans_are(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "trivy.json").write_text(json.dumps(trivy()))
    assert run_scan([], ScanOptions(reports=(str(places / "trivy.json"),))) == 1
    told = capsys.readouterr().out
    assert "registry.example/app:1" in told
    assert "CVE-2024-1" in told
    assert run_scan([], ScanOptions(reports=(str(places / "tracker.json"),))) == 2
    assert "neither Trivy's JSON" in capsys.readouterr().out


def test_an_installed_scanner_is_asked_too(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = {"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("libssl3", "3.0.11-1", "openssl"))}
    layout = str(write_layout(places / "image", [tar_of(image)], {"User": "1000"}))
    called = program(places, "trivy", trivy())
    capsys.readouterr()
    assert run_scan([layout], ScanOptions(output="json", tools=("trivy",))) == 1
    subject = json.loads(capsys.readouterr().out)["subjects"][0]
    assert {flaw["id"]: flaw["sources"] for flaw in subject["vulnerabilities"]} == {
        "CVE-2024-1": ["debian", "trivy"],
        "CVE-2024-2": ["trivy"],
        "GHSA-aaaa": ["trivy"],
    }
    assert subject["notes"] == ["trivy: 3 vulnerabilities, 2 that we did not find"]
    assert called.read_text() == f"image --format json --quiet --list-all-pkgs --input {layout}"
    program(places, "trivy", trivy(), code=1)
    assert run_scan([layout], ScanOptions(tools=("trivy",))) == 2
    assert "trivy failed on" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as ended:
        run_scan([layout], ScanOptions(tools=("grype",)))
    assert ended.value.exit_code == 2
    assert "grype is not installed" in capsys.readouterr().err
    called = program(places, "grype", grype([]))
    (places / "app").mkdir()
    (places / "app" / "requirements.txt").write_text("django==4.2\n")
    run_scan([str(places / "app")], ScanOptions(tools=("grype",)))
    assert called.read_text() == f"dir:{places / 'app'} -o json -q"
    with pytest.raises(typer.Exit):
        run_scan([layout], ScanOptions(tools=("clair",)))
