from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from known_layers import DEBIAN, status, tar_of, write_layout
from packageurl import PackageURL

from pilothouse.cli.scan import ScanOptions, run_scan
from pilothouse.cli.vulndb import run_forget, run_update, run_vulndb_status


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTHOUSE_VULNDB", str(tmp_path / "vulndb"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a little of everything, taken in."""
    folder = tmp_path / "data"
    folder.mkdir()
    release = {"status": "resolved", "fixed_version": "3.0.13-1", "urgency": "high"}
    flaws = {
        "CVE-2024-1": {"description": "a flaw", "releases": {"bookworm": release}},
        "CVE-2024-2": {"releases": {"bookworm": {"status": "open", "urgency": "low"}}},
    }
    (folder / "tracker.json").write_text(json.dumps({"openssl": flaws}))
    affected = {
        "package": {"ecosystem": "PyPI", "name": "django"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "4.2.1"}]}],
    }
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"
    record = {"id": "GHSA-1", "aliases": ["CVE-2024-3"], "severity": [{"type": "CVSS_V3", "score": vector}]}
    lines = [record | {"affected": [affected]}, {"id": "GHSA-2", "modified": "x", "affected": []}]
    (folder / "osv-PyPI.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert run_update(str(folder), "") == 0
    return folder


@pytest.fixture
def image(tmp_path: Path) -> str:
    base = {"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("libssl3", "3.0.11-1", "openssl"))}
    application = {"app/django-4.2.dist-info/METADATA": b"Name: Django\nVersion: 4.2\n"}
    return str(write_layout(tmp_path / "image", [tar_of(base), tar_of(application)], {"User": "1000"}))


def scan(*targets: str, **options: object) -> int:
    return run_scan(list(targets), ScanOptions(**options))  # type: ignore[arg-type]


def test_an_image_is_told_worst_first_with_fix_and_layer(
    data: Path, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert scan(image) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if line and line[0] in ("high", "medium", "low")]
    assert rows == [
        ["high", "CVE-2024-1", "libssl3", "3.0.11-1", "3.0.13-1", "0"],
        ["medium", "CVE-2024-3", "Django", "4.2", "4.2.1", "1"],
        ["low", "CVE-2024-2", "libssl3", "3.0.11-1", "unfixed", "0"],
    ]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"fail_on": "critical"}, 0),
        ({"fail_on": "high"}, 1),
        ({"fail_on": "none"}, 0),
        ({"fail_on": "low", "only_fixed": True}, 1),
    ],
)
def test_exit_codes(data: Path, image: str, options: dict[str, object], code: int) -> None:
    assert scan(image, **options) == code


def test_what_cannot_be_read_is_2_and_what_cannot_be_scanned_3(data: Path, image: str, tmp_path: Path) -> None:
    bare = str(write_layout(tmp_path / "bare", [tar_of({"bin/app": b"x"})], {"User": "1000"}))
    assert scan(bare) == 3
    assert scan(bare, image) == 1
    assert scan(str(tmp_path / "absent.tar"), image) == 2
    (tmp_path / "package.json").write_text("{}")
    assert scan(str(tmp_path / "package.json")) == 2


def test_without_data_nothing_passes(image: str) -> None:
    assert scan(image, fail_on="none") == 3


def test_only_what_is_new_since_a_saved_run(
    data: Path, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    scan(image, output="json")
    saved = tmp_path / "saved.json"
    saved.write_text(capsys.readouterr().out)
    assert scan(image, new_only=str(saved)) == 0
    assert "3 known before, not shown" in capsys.readouterr().out
    saved.write_text("{}")
    with pytest.raises(typer.Exit) as ended:
        scan(image, new_only=str(saved))
    assert ended.value.exit_code == 2


def test_reports_for_programs(data: Path, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    texts = {}
    for form in ("json", "sarif", "junit", "cyclonedx", "spdx"):
        scan(image, output=form)
        texts[form] = capsys.readouterr().out
    flaw = json.loads(texts["json"])["subjects"][0]["vulnerabilities"][0]
    assert (flaw["id"], flaw["fixedVersion"], flaw["layers"][0][:7]) == ("CVE-2024-1", "3.0.13-1", "sha256:")
    assert "apt-get install --only-upgrade -y libssl3" in flaw["remedy"]
    run = json.loads(texts["sarif"])["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["CVE-2024-1", "CVE-2024-3", "CVE-2024-2"]
    assert run["tool"]["driver"]["rules"][run["results"][1]["ruleIndex"]]["id"] == "CVE-2024-3"
    suites = ElementTree.fromstring(texts["junit"])
    assert (suites.get("failures"), suites.get("errors")) == ("3", "0")
    bom = json.loads(texts["cyclonedx"])
    references = {component["bom-ref"]: component.get("purl") for component in bom["components"]}
    affected = {entry["id"]: references[entry["affects"][0]["ref"]] for entry in bom["vulnerabilities"]}
    assert affected["CVE-2024-1"].startswith("pkg:deb/debian/libssl3@3.0.11-1?")
    assert affected["CVE-2024-3"] == "pkg:pypi/django@4.2"
    packages = json.loads(texts["spdx"])["packages"]
    urls = [ref["referenceLocator"] for package in packages for ref in package.get("externalRefs", ())]
    assert sorted(PackageURL.from_string(url).name for url in urls) == ["django", "libssl3"]


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
def test_an_sbom_that_we_write_is_scanned_as_the_image_it_is_of(
    data: Path, image: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    scan(image, output=form)
    sbom = tmp_path / "sbom.json"
    sbom.write_text(capsys.readouterr().out)
    assert scan(str(sbom), output="json") == 1
    subject = json.loads(capsys.readouterr().out)["subjects"][0]
    assert [flaw["id"] for flaw in subject["vulnerabilities"]] == ["CVE-2024-1", "CVE-2024-3", "CVE-2024-2"]
    assert (subject["type"], subject["notScanned"]) == ("sbom", [])


def test_a_folder_is_scanned_by_its_lockfiles(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("Django==4.2\n")
    capsys.readouterr()
    assert scan(str(project), fail_on="medium") == 1
    assert "CVE-2024-3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [{"output": "pdf"}, {"fail_on": "awful"}, {"new_only": "/absent/file"}, {"targets": ()}]
)
def test_a_wrong_command_line_is_2(options: dict[str, object], image: str) -> None:
    targets = options.pop("targets", (image,))
    with pytest.raises(typer.Exit) as ended:
        scan(*targets, **options)  # type: ignore[misc]
    assert ended.value.exit_code == 2


def test_status_tells_feeds_and_age(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run_vulndb_status(None, "") == 0
    assert "debian" in capsys.readouterr().out
    assert run_vulndb_status("json", "") == 0
    tree = json.loads(capsys.readouterr().out)
    assert {feed["name"]: feed["records"] for feed in tree["feeds"]} == {"debian": 2, "osv/PyPI": 2}


def test_a_feed_is_forgotten(data: Path, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_forget("debian", "") == 0
    assert scan(image, fail_on="none") == 3
    assert "no vulnerability data for Debian" in capsys.readouterr().out
    with pytest.raises(typer.Exit):
        run_forget("debian", "")
    assert "there are: osv/PyPI" in capsys.readouterr().err


def test_the_commands_load_no_part_of_the_engine() -> None:
    import subprocess

    code = (
        "import sys, pilothouse.cli.scan, pilothouse.cli.vulndb; "
        "print([name for name in ('aiohttp', 'grpc', 'cryptography', 'cvss', 'packageurl') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


VEX = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}


def _vex(tmp_path: Path, *statements: dict[str, object]) -> str:
    file = tmp_path / "vex.json"
    file.write_text(json.dumps(VEX | {"statements": statements}))
    return str(file)


@pytest.mark.parametrize(
    ("product", "status", "left"),
    [
        ({"@id": "pkg:deb/debian/openssl@3.0.11-1?arch=source"}, "not_affected", {"CVE-2024-2", "CVE-2024-3"}),
        ({"@id": "pkg:deb/debian/libssl3"}, "fixed", {"CVE-2024-2", "CVE-2024-3"}),
        ({"@id": "example/app:1"}, "not_affected", {"CVE-2024-2", "CVE-2024-3"}),
        (
            {"@id": "example/app:1", "subcomponents": [{"@id": "pkg:pypi/django"}]},
            "not_affected",
            {"CVE-2024-1", "CVE-2024-2", "CVE-2024-3"},
        ),
        ({"@id": "pkg:deb/debian/openssl@9"}, "not_affected", {"CVE-2024-1", "CVE-2024-2", "CVE-2024-3"}),
        ({"@id": "pkg:deb/debian/openssl"}, "affected", {"CVE-2024-1", "CVE-2024-2", "CVE-2024-3"}),
    ],
)
def test_vex_takes_away_what_it_is_about(
    data: Path,
    image: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    product: dict[str, object],
    status: str,
    left: set[str],
) -> None:
    about = {"vulnerability": {"name": "CVE-2024-1"}, "products": [product]}
    file = _vex(tmp_path, {**about, "status": status, "justification": "vulnerable_code_not_present"})
    capsys.readouterr()
    scan(image, output="json", vex=(file,))
    subject = json.loads(capsys.readouterr().out)["subjects"][0]
    assert {flaw["id"] for flaw in subject["vulnerabilities"]} == left
    assert subject["takenAwayByVex"] == 3 - len(left)
    assert [(entry["id"], entry["by"], entry["justification"], entry["place"]) for entry in subject["silenced"]] == [
        ("CVE-2024-1", "Acme", "vulnerable_code_not_present", file) for _ in range(3 - len(left))
    ]
    scan(image, vex=(file,))
    told = f"silenced: CVE-2024-1 in openssl 3.0.11-1: {status} (vulnerable_code_not_present) says Acme, {file}"
    assert (told in capsys.readouterr().out) == (len(left) < 3)


def test_a_broken_vex_document_is_told(data: Path, image: str, tmp_path: Path) -> None:
    for text in ("{", "{}", _vex_text("gone")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(typer.Exit) as ended:
            scan(image, vex=(str(tmp_path / "bad.json"),))
        assert ended.value.exit_code == 2


def _vex_text(status: str) -> str:
    return json.dumps({"@context": "https://openvex.dev/ns", "statements": [{"status": status}]})


def test_what_a_newer_base_lacks(data: Path, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("libssl3", "3.0.13-1", "openssl"))}
    newer = str(write_layout(tmp_path / "newer", [tar_of(files)]))
    capsys.readouterr()
    assert scan(image, base=newer, output="json") == 1
    subject = json.loads(capsys.readouterr().out)["subjects"][0]
    lacks = {
        flaw["id"] for flaw in subject["vulnerabilities"] if flaw["fingerprint"] in subject["base"]["newer"]["lacks"]
    }
    assert (subject["base"]["layers"], subject["base"]["vulnerabilities"], lacks) == (1, 2, {"CVE-2024-1"})
    assert scan(image, base=newer) == 1
    assert "2 flaws from it, 1 of them with a fix" in capsys.readouterr().out
    assert scan(image, base=str(tmp_path / "absent.tar")) == 2
    assert "not read: --base" in capsys.readouterr().out
