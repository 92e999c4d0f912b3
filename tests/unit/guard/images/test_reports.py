"""What scans are written as, held to the standards' own validators, and read again as input."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_schemas import JUNIT, SarifLog
from spdx_tools.spdx.parser.json import json_parser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from pilothouse.guard.images.data.base import Base, Known, Risk
from pilothouse.guard.images.data.records import FIXED, INTRODUCED, Advisory, Event, Release, Rule
from pilothouse.guard.images.inventory.sbom import is_sbom, sbom_inventory
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.result import Result, scanned
from pilothouse.guard.images.match.severity import RATINGS
from pilothouse.guard.images.model import Inventory, Layer, Package, Placed, Problem, System, Trace
from pilothouse.guard.images.report import FORMATS
from pilothouse.guard.images.report.document import ScanOutcome, fingerprint, subject_of

DIGEST = "sha256:" + "a" * 64
VECTORS = {
    "": 0.0,
    "AV:N/AC:L/Au:N/C:P/I:P/A:P": 7.5,
    "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": 9.8,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N": 5.3,
    "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N": 9.3,
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WORD = st.from_regex(r"[a-z][a-z0-9+.]{0,8}", fullmatch=True)
MIXED = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}[a-z0-9]", fullmatch=True)
NUMBERS = st.from_regex(r"[1-9](\.[0-9]{1,2}){0,2}", fullmatch=True)
SYSTEMS = st.sampled_from(
    [
        System("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)"),
        System("debian", "", "trixie/sid", "Debian GNU/Linux trixie/sid"),
        System("debian", "", "", "Debian GNU/Linux"),
        System("ubuntu", "22.04", "jammy", "Ubuntu 22.04.4 LTS", "debian"),
        System("alpine", "3.20.3", "", "Alpine Linux v3.20"),
        System("alpine", "3.21.0_alpha20240807", "", "Alpine Linux edge"),
        System("rhel", "9.4", "", "Red Hat Enterprise Linux 9.4 (Plow)", "fedora"),
        System("opensuse-leap", "15.6", "", "openSUSE Leap 15.6", "suse opensuse"),
        System("wolfi", "20230201", "", "Wolfi"),
    ]
)
KINDS = {"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "rhel": "rpm", "opensuse-leap": "rpm"}


@st.composite
def system_packages(draw: st.DrawFn, system: System) -> Package:
    kind = KINDS[system.id]
    epoch = draw(st.sampled_from(["", "1:", "2:"])) if kind != "apk" else ""
    tail = {"deb": ["-1", "-1+b2", "-0ubuntu0.1~22", ""], "rpm": ["-3.el9_4", "-1.module+el8+1"], "apk": ["-r0"]}[kind]
    version = epoch + draw(NUMBERS) + draw(st.sampled_from(tail))
    source = draw(st.one_of(st.just(""), WORD))
    source_version = draw(NUMBERS.map(lambda text: text + "-1")) if kind == "deb" and source else ""
    module = draw(st.sampled_from(["", "nodejs:18:8090020240101"])) if kind == "rpm" else ""
    return Package(kind, draw(WORD), version, source, source_version, "amd64", "var/lib/status", module)


LANGUAGES = st.one_of(
    st.builds(Package, st.just("pypi"), MIXED, NUMBERS, path=TEXT),
    st.builds(Package, st.just("npm"), st.one_of(WORD, st.builds("@{}/{}".format, WORD, WORD)), NUMBERS, path=TEXT),
    st.builds(Package, st.just("maven"), st.builds("org.{}:{}".format, WORD, MIXED), NUMBERS.map("{}.RELEASE".format)),
    st.builds(Package, st.just("maven"), MIXED, NUMBERS),
    st.builds(
        Package, st.just("golang"), st.builds("github.com/{}/{}/v2".format, MIXED, MIXED), NUMBERS.map("v{}".format)
    ),
    st.just(Package("golang", "stdlib", "1.22.1", path="bin/app")),
    st.builds(Package, st.sampled_from(["cargo", "gem", "nuget"]), MIXED, NUMBERS),
    st.builds(Package, st.just("composer"), st.builds("{}/{}".format, WORD, WORD), NUMBERS),
    st.just(Package("pypi", "unpinned", "")),
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    system = draw(st.one_of(st.none(), SYSTEMS))
    own = draw(st.lists(system_packages(system), max_size=4)) if system else []
    packages = [*own, *draw(st.lists(LANGUAGES, min_size=0 if own else 1, max_size=5))]
    problems = draw(st.lists(st.builds(Problem, TEXT, TEXT.filter(bool), st.booleans()), max_size=2))
    placed = tuple(Placed(package, draw(st.integers(0, 1))) for package in dict.fromkeys(packages))
    layers = (Layer(DIGEST, created_by="RUN x"), Layer("sha256:" + "b" * 64))
    traces = ((Trace("secret", "root/.key", "a private key"), 0),)
    return Inventory("app:1", "image", DIGEST, system, layers, placed, traces, tuple(problems), user="root")


class Everything(Base):
    """Says of every package of every ecosystem that it is vulnerable, by what it was asked for."""

    def lookup(self, ecosystem: str, name: str) -> list[Known]:
        events = (Event(INTRODUCED, "0"), Event(FIXED, "99"))
        flaw = Known("osv/all", Advisory(f"X-{ecosystem}-{name}"), Rule((events,)))
        release = Release("open", urgency="low", reason="no-dsa")
        tracked = Known("debian", Advisory(f"CVE-{name}"), Rule(releases={"bookworm": release, "sid": release}))
        return [flaw, tracked] if ecosystem == "Debian" else [flaw]

    def covers(self, ecosystem: str) -> bool:
        return ecosystem != "RubyGems"

    def risk(self, ids: object) -> Risk:
        return Risk(0.5, 0.9, "2024-01-01", True)


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    base = Everything(None)
    yield base
    base.close()


FLAWS = st.builds(
    lambda ident, ids, package, severity, vector, fixed, reason, summary, links: Flaw(
        ident,
        (ident, *ids),
        package.type,
        package.name,
        package.version,
        severity=severity,
        vector=vector,
        score=VECTORS[vector],
        fixed=fixed,
        reason=reason,
        summary=summary,
        references=tuple(links),
        feeds=("osv/PyPI",),
    ),
    st.from_regex(r"CVE-20[0-9]{2}-[0-9]{4}", fullmatch=True),
    st.lists(st.sampled_from(["GHSA-1", "PYSEC-2", "DSA-3"]), max_size=2, unique=True),
    LANGUAGES,
    st.sampled_from(RATINGS),
    st.sampled_from(sorted(VECTORS)),
    st.sampled_from(["", "2.0"]),
    TEXT,
    TEXT,
    st.lists(st.sampled_from(["https://example.com/a b", "https://example.com/ü", ""]), max_size=2, unique=True),
)


@st.composite
def outcomes(draw: st.DrawFn) -> ScanOutcome:
    subjects = []
    for inventory in draw(st.lists(inventories(), min_size=1, max_size=2)):
        flaws = draw(st.lists(FLAWS, max_size=3, unique_by=lambda flaw: flaw.id))
        packages = tuple(Placed(Package(flaw.type, flaw.package, flaw.version), 0) for flaw in flaws)
        whole = msgspec.structs.replace(inventory, packages=inventory.packages + packages)
        subjects.append(subject_of(Result(whole, tuple(flaws), tuple(draw(st.lists(TEXT, max_size=2))))))
    return ScanOutcome(tuple(subjects), tuple(draw(st.lists(st.tuples(TEXT, TEXT), max_size=1))), "Data of today.")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(outcomes())
def test_cyclonedx_is_valid_by_its_schema(outcome: ScanOutcome) -> None:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(FORMATS["cyclonedx"](outcome))
    assert error is None, str(error)[:500]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(outcomes())
def test_spdx_is_valid_by_the_tools_of_its_makers(outcome: ScanOutcome) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(FORMATS["spdx"](outcome))
        file.flush()
        document = json_parser.parse_from_file(file.name)
    messages = validate_full_spdx_document(document, "SPDX-2.3")
    assert not messages, [message.validation_message for message in messages]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inventories(), st.sampled_from(["cyclonedx", "spdx"]))
def test_an_sbom_of_ours_scans_as_the_image_does(base: Base, inventory: Inventory, form: str) -> None:
    direct = scanned(base, inventory)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bom.json")
        file.write_text(FORMATS[form](ScanOutcome((subject_of(direct),))))
        assert is_sbom(file)
        again = scanned(base, sbom_inventory(file))
    assert _findings(again) == _findings(direct)
    assert again.complete == direct.complete
    assert {fingerprint(flaw) for flaw in again.flaws} == {fingerprint(flaw) for flaw in direct.flaws}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(outcomes())
def test_sarif_has_what_the_standard_has_and_every_result_its_rule(outcome: ScanOutcome) -> None:
    (run,) = msgspec.json.decode(FORMATS["sarif"](outcome), type=SarifLog).runs
    rules = run.tool.driver.rules
    assert len({rule.id for rule in rules}) == len(rules)
    assert [rules[result.rule_index].id for result in run.results] == [result.rule_id for result in run.results]
    assert len(run.results) == sum(len(subject.flaws) + len(subject.weaknesses) for subject in outcome.subjects)
    assert run.invocations[0].execution_successful == (not outcome.unread and not outcome.not_scanned)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(outcomes())
def test_junit_has_what_its_readers_know_and_counts_right(outcome: ScanOutcome) -> None:
    root = ElementTree.fromstring(FORMATS["junit"](outcome))
    assert root.tag == "testsuites"
    for element in root.iter():
        children, attributes = JUNIT[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.keys()) <= attributes
    for suite in (root, *root):
        for key, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
            assert int(suite.get(key, "")) == len(suite.findall(f".//{path}")), key
    assert (root.get("errors") == "0") == (not outcome.unread and not outcome.not_scanned)


def _findings(result: Result) -> set[tuple[Any, ...]]:
    return {(flaw.ids, flaw.type, flaw.version, flaw.state, flaw.fixed, flaw.reason) for flaw in result.flaws}
