"""Documents that others write: whatever is in them, they are read or refused with a reason."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_others import grype, grype_match, trivy
from test_vex import DIGEST, FLAW, IMAGE, SAID, vex

from pilothouse.guard.images.data.base import Risk
from pilothouse.guard.images.inventory.sbom import sbom_in
from pilothouse.guard.images.match.vex import BadVex, Statements, statements_in
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.others.report import result_of
from pilothouse.guard.images.signed.documents import SBOM, VEX, documents_of
from pilothouse.guard.images.signed.envelope import BUNDLE, ENVELOPE, IN_TOTO
from pilothouse.guard.images.signed.verify import SIMPLE, verify
from pilothouse.guard.images.source.attached import Attached

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([DIGEST, "pkg:oci/app", "pkg:npm/%40acme/core@1.0", "0001-01-01T00:00:00+14:00", "9999-12-31"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a tree."""
    yield at
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield from places(value, (*at, key))


@st.composite
def spoiled(draw: st.DrawFn, tree: Any) -> bytes:
    """A proper document with something else in one place or two."""
    made = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(sorted(places(made), key=str)))
        value = draw(VALUES)
        if not path:
            made = value
            continue
        inner = made
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    return json.dumps(made).encode()


def read_vex(data: bytes) -> None:
    with contextlib.suppress(BadVex):
        Statements(statements_in(data)).split([FLAW], IMAGE)


def read_report(data: bytes) -> None:
    with contextlib.suppress(NotReadable):
        result_of(data, "report", lambda ids: Risk())


def read_sbom(data: bytes) -> None:
    with contextlib.suppress(NotReadable):
        sbom_in(data, "sbom")


def read_attached(data: bytes) -> None:
    annotations = {"dev.cosignproject.cosign/signature": "AAAA"}
    for media_type in (SIMPLE, f"{BUNDLE}.v0.3+json", ENVELOPE, IN_TOTO):
        entries = [Attached(DIGEST, media_type, "", annotations, "where", lambda largest: data)]
        assert verify(entries, {DIGEST}, []).key is None
        for kind in (SBOM, VEX):
            documents_of(entries, kind, {DIGEST})


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "x", "digest": {"sha256": "a" * 64}}],
    "predicateType": "https://openvex.dev/ns",
    "predicate": {},
}
BUNDLED = {
    "mediaType": f"{BUNDLE}.v0.3+json",
    "verificationMaterial": {"publicKey": {"hint": "x"}},
    "dsseEnvelope": {"payloadType": IN_TOTO, "payload": "e30=", "signatures": [{"sig": "AAAA", "keyid": ""}]},
}
PAYLOAD = {"critical": {"image": {"docker-manifest-digest": DIGEST}, "type": "cosign container image signature"}}
BOM = {
    "bomFormat": "CycloneDX",
    "metadata": {"properties": [{"name": "x", "value": "y"}]},
    "components": [{"type": "library", "name": "x", "purl": "pkg:deb/debian/x@1?distro=debian-12", "components": []}],
}
CASES: list[tuple[Any, Callable[[bytes], None]]] = [
    (json.loads(vex(SAID | {"products": [{"@id": "pkg:oci/app", "subcomponents": [{"@id": "x"}]}]})), read_vex),
    (trivy(), read_report),
    (grype([grype_match("x")]), read_report),
    (BOM, read_sbom),
    (STATEMENT, read_attached),
    (BUNDLED, read_attached),
    (PAYLOAD, read_attached),
]


@pytest.mark.parametrize(("tree", "read"), CASES)
def test_a_spoiled_document_is_read_or_refused(tree: Any, read: Callable[[bytes], None]) -> None:
    @settings(max_examples=80, deadline=None)
    @given(spoiled(tree))
    def law(data: bytes) -> None:
        read(data)

    law()


@pytest.mark.parametrize("read", [read_vex, read_report, read_sbom, read_attached])
@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff", b"[" * 100_000, b"{" * 5_000, b'{"a":' * 5_000, b"null", b'"x"', b"1e999"]
)
def test_what_is_no_document_at_all_is_refused(read: Callable[[bytes], None], data: bytes) -> None:
    read(data)
