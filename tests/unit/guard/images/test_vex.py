from __future__ import annotations

import json
from typing import Any

import pytest

from pilothouse.guard.images.live.vex_documents import documents
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.vex import BadVex, Product, Statements, named, statements_in
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.view import from_tree

DIGEST, INDEX = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = named("r.example:5000/team/app:1", (DIGEST, INDEX, ""))
FLAW = Flaw("CVE-1", ("CVE-1", "GHSA-1"), "npm", "@acme/core", "1.0")
SAID = {"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "justification": "component_not_present"}


def vex(*statements: dict[str, Any], **more: Any) -> bytes:
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme/1", "author": "Acme"}
    return json.dumps({**head, "timestamp": "2024-05-01T00:00:00Z", "statements": statements, **more}).encode()


def silenced(text: bytes, flaw: Flaw = FLAW, default: Product | None = None) -> bool:
    return bool(Statements(statements_in(text, "", default)).split([flaw], IMAGE)[1])


@pytest.mark.parametrize(
    ("product", "fits"),
    [
        ({"@id": f"pkg:oci/app@{DIGEST}"}, True),
        ({"@id": f"pkg:oci/app@sha256%3A{'b' * 64}?repository_url=elsewhere"}, True),
        ({"@id": "pkg:oci/app@sha256%3A" + "c" * 64}, False),
        ({"@id": "pkg:oci/app"}, True),
        ({"@id": "pkg:oci/app?repository_url=r.example:5000/team/app"}, True),
        ({"@id": "pkg:oci/app?repository_url=r.example:5000/team"}, True),
        ({"@id": "pkg:oci/app?repository_url=r.example:5000/other/app"}, False),
        ({"@id": "pkg:oci/app?tag=1"}, True),
        ({"@id": "pkg:oci/app?tag=2"}, False),
        ({"@id": "pkg:oci/ap"}, False),
        ({"@id": "https://acme/app", "hashes": {"sha-256": "a" * 64}}, True),
        ({"@id": "https://acme/app", "hashes": {"sha-256": "d" * 64}}, False),
        ({"@id": "https://acme/app", "identifiers": {"purl": "pkg:npm/%40acme/core@1.0"}}, True),
        ({"@id": "pkg:npm/%40acme/core"}, True),
        ({"@id": "pkg:npm/core"}, False),
        ({"@id": "pkg:npm/%40other/core"}, False),
        ({"@id": "pkg:pypi/core"}, False),
        ({"@id": "pkg:npm/%40acme/core@2.0"}, False),
        ({"@id": "pkg:oci/app", "subcomponents": [{"@id": "pkg:npm/%40acme/core@1.0"}]}, True),
        ({"@id": "pkg:oci/app", "subcomponents": [{"@id": "pkg:npm/%40acme/other"}]}, False),
        ({"@id": "no package url at all"}, False),
    ],
)
def test_what_a_statement_is_about(product: dict[str, Any], fits: bool) -> None:
    assert silenced(vex(SAID | {"products": [product]})) is fits


def test_another_name_of_the_flaw_will_do_and_another_flaw_will_not() -> None:
    product = {"products": [{"@id": "pkg:oci/app"}]}
    assert silenced(vex(SAID | product | {"vulnerability": {"name": "X", "aliases": ["GHSA-1"]}}))
    assert not silenced(vex(SAID | product | {"vulnerability": {"name": "CVE-2"}}))


def test_the_latest_statement_counts_wherever_it_stands() -> None:
    product = {"products": [{"@id": "pkg:oci/app"}]}
    later = SAID | product | {"status": "under_investigation", "timestamp": "2024-06-01T00:00:00+02:00"}
    assert not silenced(vex(later, SAID | product))
    assert silenced(vex(later | {"timestamp": "2024-04-01T00:00:00Z"}, SAID | product))
    same = SAID | product | {"status": "affected"}
    assert not silenced(vex(SAID | product, same))
    assert silenced(vex(same, SAID | product))


def test_without_products_a_statement_is_about_what_it_is_attached_to_only() -> None:
    assert not silenced(vex(SAID))
    assert silenced(vex(SAID), default=Product((), frozenset({DIGEST})))
    assert not silenced(vex(SAID), default=Product((), frozenset({"sha256:" + "c" * 64})))


def test_who_says_so_and_why_is_told() -> None:
    entry = SAID | {"products": [{"@id": "pkg:oci/app"}], "supplier": "Acme\nSecurity"}
    (found,) = Statements(statements_in(vex(entry), "file.json")).split([FLAW], IMAGE)[1]
    assert str(found.by) == "not_affected (component_not_present) says Acme Security, https://acme/1, file.json"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "no JSON"),
        (b"[]", "no OpenVEX document"),
        (vex(SAID, author=""), "no author"),
        (vex(SAID, statements={}), "no statements"),
        (vex(SAID | {"status": "gone"}), r"statements\[0\].status"),
        (vex(SAID | {"justification": ""}), "needs a justification"),
        (vex(SAID | {"justification": "trust_me"}), "vulnerable_code_not_present"),
        (vex(SAID | {"vulnerability": {}}), "has no name"),
        (vex(SAID, timestamp="yesterday"), "no proper timestamp|proper timestamp"),
    ],
)
def test_what_is_no_document_is_told(text: bytes, reason: str) -> None:
    with pytest.raises(BadVex, match=reason):
        statements_in(text)


def test_the_clusters_documents_and_those_that_cannot_be_read() -> None:
    def config_map(name: str, **data: str) -> ConfigMap:
        return from_tree(ConfigMap, {"metadata": {"name": name, "namespace": "kube-system"}, "data": data})

    good = vex(SAID | {"products": [{"@id": "pkg:oci/app"}]}).decode()
    statements, broken = documents([config_map("b", bad="{"), config_map("a", good=good)])
    ((_, said),) = statements.split([FLAW], IMAGE)[1]
    assert said.place == "ConfigMap kube-system/a"
    assert [(found.finding.ref.name, found.finding.field) for found in broken] == [("b", "data[bad]")]
