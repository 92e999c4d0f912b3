"""CSAF documents as Red Hat and SUSE shape them; made for this test."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Result, Updater
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.model import Inventory, Package, Placed, System

RHEL9, SLES = System("rhel", "9.4"), System("sles", "15.5")
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"


def product(ident: str, name: str = "", **helper: str) -> dict[str, Any]:
    found: dict[str, Any] = {"product_id": ident, "name": name or ident}
    return {"product": found | ({"product_identification_helper": helper} if helper else {})}


def placed(platform: str, component: str) -> dict[str, Any]:
    ident = f"{platform}:{component}"
    return {
        "category": "default_component_of",
        "full_product_name": {"product_id": ident, "name": ident},
        "product_reference": component,
        "relates_to_product_reference": platform,
    }


def document(ident: str, tree: dict[str, Any], *vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    tracking = {
        "id": ident,
        "status": "final",
        "version": "1",
        "initial_release_date": "2024-03-01T00:00:00+00:00",
        "current_release_date": "2024-03-02T00:00:00+00:00",
    }
    head = {
        "category": "csaf_security_advisory",
        "csaf_version": "2.0",
        "title": f"An advisory {ident}",
        "aggregate_severity": {"text": "Low"},
        "references": [{"category": "self", "url": f"https://vendor.example/{ident}"}],
        "tracking": tracking,
    }
    return {"document": head, "product_tree": tree, "vulnerabilities": list(vulnerabilities)}


FIX = "expat-0:2.5.0-2.el9_4.x86_64"
RED_HAT = document(
    "CVE-2024-1",
    {
        "branches": [
            {
                "category": "vendor",
                "name": "Red Hat",
                "branches": [
                    product("red_hat_enterprise_linux_9", cpe="cpe:/o:redhat:enterprise_linux:9"),
                    product("BaseOS-9.4", cpe="cpe:/o:redhat:enterprise_linux:9::baseos"),
                    product("BaseOS-9.2.EUS", cpe="cpe:/o:redhat:rhel_eus:9.2::baseos"),
                    {
                        "category": "architecture",
                        "branches": [product(FIX, purl="pkg:rpm/redhat/expat@2.5.0-2.el9_4?arch=x86_64")],
                    },
                    product("expat-eus", purl="pkg:rpm/redhat/expat@99-1.el9_2"),
                    product("mingw-expat", purl="pkg:rpm/redhat/mingw-expat?arch=src"),
                    product("image", purl="pkg:oci/app?repository_url=registry.example/app"),
                ],
            }
        ],
        "relationships": [
            placed("BaseOS-9.4", FIX),
            placed("BaseOS-9.2.EUS", "expat-eus"),
            placed("red_hat_enterprise_linux_9", "mingw-expat"),
            placed("red_hat_enterprise_linux_9", "image"),
        ],
    },
    {
        "cve": "CVE-2024-1",
        "title": "expat: a flaw",
        "product_status": {
            "fixed": [f"BaseOS-9.4:{FIX}", "BaseOS-9.2.EUS:expat-eus"],
            "known_affected": ["red_hat_enterprise_linux_9:mingw-expat", "red_hat_enterprise_linux_9:image"],
            "known_not_affected": ["red_hat_enterprise_linux_9:other"],
        },
        "remediations": [
            {"category": "vendor_fix", "details": "Update.", "product_ids": [f"BaseOS-9.4:{FIX}"]},
            {
                "category": "no_fix_planned",
                "details": "Will not fix",
                "product_ids": ["red_hat_enterprise_linux_9:mingw-expat"],
            },
        ],
        "scores": [{"cvss_v3": {"vectorString": VECTOR, "baseScore": 7.5, "version": "3.1"}, "products": []}],
        "threats": [{"category": "impact", "details": "Moderate"}],
    },
)
MODULE = "SUSE Linux Enterprise Module for Basesystem 15 SP5"
SUSE = document(
    "SUSE-SU-2024:1-1",
    {
        "branches": [
            product(MODULE, MODULE, cpe="cpe:/o:suse:sle-module-basesystem:15:sp5"),
            product("libexpat1-2.4.4-150400.3.17.1.x86_64"),
        ],
        "relationships": [placed(MODULE, "libexpat1-2.4.4-150400.3.17.1.x86_64")],
    },
    {"cve": "CVE-2024-1", "product_status": {"first_fixed": [f"{MODULE}:libexpat1-2.4.4-150400.3.17.1.x86_64"]}},
    {"cve": "CVE-2024-2", "product_status": {"fixed": [f"{MODULE}:libexpat1-2.4.4-150400.3.17.1.x86_64"]}},
)


@pytest.fixture
def base() -> Iterator[Base]:
    base = Base(None)
    yield base
    base.close()


def take(base: Base, folder: Path, *documents: dict[str, Any]) -> list[Result]:
    for number, tree in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(tree))
    return list(Updater(base, folder / "downloads").from_path(folder))


def found(base: Base, package: Package, system: System) -> list[Flaw]:
    return list(scanned(base, Inventory("x", "image", system=system, packages=(Placed(package),))).flaws)


def test_what_red_hat_says_of_a_flaw(base: Base, tmp_path: Path) -> None:
    (result,) = take(base, tmp_path, RED_HAT)
    assert result.counts is not None
    assert (result.counts.added, result.counts.broken) == (1, 0)
    (flaw,) = found(base, Package("rpm", "expat", "2.5.0-1.el9", "expat"), RHEL9)
    assert (flaw.id, flaw.state, flaw.fixed) == ("CVE-2024-1", "fixed", "2.5.0-2.el9_4")
    assert (flaw.severity, flaw.score, flaw.references) == ("medium", 7.5, ("https://vendor.example/CVE-2024-1",))
    assert not found(base, Package("rpm", "expat", "2.5.0-2.el9_4", "expat"), RHEL9)
    (left,) = found(base, Package("rpm", "mingw32-expat", "2.4.9-1.el9", "mingw-expat"), RHEL9)
    assert (left.state, left.fixed, left.reason) == ("will not be fixed", "", "no fix planned: Will not fix")


def test_an_advisory_of_suse_for_several_flaws(base: Base, tmp_path: Path) -> None:
    take(base, tmp_path, SUSE)
    flaws = found(base, Package("rpm", "libexpat1", "2.4.4-150400.3.9.1", "expat"), SLES)
    assert [(flaw.id, flaw.fixed, flaw.severity) for flaw in flaws] == [
        ("CVE-2024-1", "2.4.4-150400.3.17.1", "low"),
        ("CVE-2024-2", "2.4.4-150400.3.17.1", "low"),
    ]


def test_a_zip_of_documents_is_data_for_its_systems_and_single_ones_are_not(base: Base, tmp_path: Path) -> None:
    package = Placed(Package("rpm", "libexpat1", "3", "expat"))
    inventory = Inventory("x", "image", system=SLES, packages=(package,))
    (tmp_path / "loose").mkdir()
    take(base, tmp_path / "loose", SUSE)
    assert not scanned(base, inventory).complete
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("2024/suse-su-2024_1-1.json", json.dumps(SUSE))
    (tmp_path / "csaf-suse.zip").write_bytes(out.getvalue())
    (result,) = Updater(base, tmp_path / "downloads").from_path(tmp_path / "csaf-suse.zip")
    assert not result.error
    assert scanned(base, inventory).complete


@pytest.mark.parametrize("relations", [[("a", "b"), ("b", "a")], [("a", "a")]])
def test_relationships_in_a_circle_end(base: Base, tmp_path: Path, relations: list[tuple[str, str]]) -> None:
    entries = [
        {**placed("x", "y"), "full_product_name": {"product_id": ident}, "product_reference": other}
        | {"relates_to_product_reference": other}
        for ident, other in relations
    ]
    status = {"cve": "CVE-2024-1", "product_status": {"known_affected": ["a"]}}
    (result,) = take(base, tmp_path, document("X-1", {"relationships": entries}, status))
    assert result.counts is not None
    assert result.counts.added == 1


def test_deep_trees_and_other_shapes_are_counted_as_broken(base: Base, tmp_path: Path) -> None:
    deep = json.dumps(document("X-2", {"branches": []}, {"cve": "CVE-1"})).replace(
        '"branches": []', '"branches": [' + '{"branches": [' * 20_000 + "]}" * 20_000 + "]"
    )
    (tmp_path / "deep.json").write_text(deep)
    (result,) = take(base, tmp_path, RED_HAT, {**document("X-3", {}), "vulnerabilities": {"cve": "CVE-1"}})
    assert result.counts is not None
    assert (result.counts.added, result.counts.broken) == (1, 2)
