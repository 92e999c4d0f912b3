"""Media types, page positions, YAML bodies, which container is meant, usage."""

import pytest

from pilothouse.apiserver.accept import WHOLE, Form, object_form, wants_aggregated_discovery
from pilothouse.apiserver.pages import Position, encode_continue, position
from pilothouse.apiserver.pod_container import choose_container
from pilothouse.apiserver.resource_metrics.usage import node_metrics, pod_metrics
from pilothouse.apiserver.yaml_body import decode_yaml
from pilothouse.machinery.errors import BadRequest, Invalid, Timeout
from pilothouse.machinery.objects import Obj

KUBECTL_TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", WHOLE),
        ("*/*", WHOLE),
        ("application/vnd.kubernetes.protobuf, */*", WHOLE),
        (KUBECTL_TABLE, Form("Table", "v1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", WHOLE),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form("PartialObjectMetadata", "v1")),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Form("PartialObjectMetadata", "v1"),
        ),
    ],
)
def test_forms(header: str, form: Form) -> None:
    assert object_form(header) == form


def test_aggregated_discovery_needs_its_parameters() -> None:
    assert wants_aggregated_discovery("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    assert not wants_aggregated_discovery("application/json")
    assert not wants_aggregated_discovery("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")


def test_positions() -> None:
    assert position({}, 9) == Position(None)
    assert position({"resourceVersion": "0"}, 9) == Position(None)
    assert position({"resourceVersion": "5"}, 9) == Position(None)
    assert position({"resourceVersion": "5", "limit": "2"}, 9) == Position(5)
    assert position({"resourceVersion": "5", "resourceVersionMatch": "Exact"}, 9) == Position(5)
    token = encode_continue(5, "core/pods/ns/a")
    assert position({"continue": token}, 9) == Position(5, "core/pods/ns/a")
    with pytest.raises(BadRequest, match="not allowed when using continue"):
        position({"continue": token, "resourceVersion": "5"}, 9)
    with pytest.raises(BadRequest, match="continue key is not valid"):
        position({"continue": "x"}, 9)
    with pytest.raises(Timeout):
        position({"resourceVersion": "10"}, 9)
    with pytest.raises(Invalid):
        position({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, 9)


def laughing(levels: int) -> bytes:
    """Ten aliases of ten aliases of ten aliases…"""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels))]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 200_000, "more than 100 levels"),
        (laughing(9), "more than 500000 values"),
        (b"a: &a [*a]", r"alias \*a has no anchor"),
        (b"1: x", "a key that is not text: 1"),
        (b"a: [", "line 2, column 1"),
        (b"a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_yaml_that_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        decode_yaml(body)


def test_yaml_keeps_dates_as_text_and_names_doubled_keys() -> None:
    decoded = decode_yaml(b"day: 2026-01-02\nn: 1\nt: true\nx: {a: 1, a: 2}\ne:\n")
    assert decoded.value == {"day": "2026-01-02", "n": 1, "t": True, "x": {"a": 2}, "e": None}
    assert decoded.duplicates == ('line 4: key "a" already set in map',)


def pod(*containers: str, init: tuple[str, ...] = (), annotation: str = "") -> Obj:
    meta: Obj = {"name": "p", "namespace": "ns", "uid": "u"}
    if annotation:
        meta["annotations"] = {"kubectl.kubernetes.io/default-container": annotation}
    spec = {"containers": [{"name": c} for c in containers], "initContainers": [{"name": c} for c in init]}
    return {"metadata": meta, "spec": spec}


def test_containers() -> None:
    assert choose_container(pod("a"), "") == "a"
    assert choose_container(pod("a", "b", annotation="b"), "") == "b"
    assert choose_container(pod("a", init=("i",)), "i") == "i"
    with pytest.raises(BadRequest, match=r"choose one of: \[a b\] or one of the init containers: \[i\]$"):
        choose_container(pod("a", "b", init=("i",), annotation="gone"), "")


def test_usage_without_measurements_is_left_out() -> None:
    node: Obj = {"metadata": {"name": "n"}}
    assert node_metrics(node, {}) is None
    assert pod_metrics(pod("a"), {"pods": [{"podRef": {"uid": "other"}}]}) is None
    half = {"podRef": {"uid": "u"}, "containers": [{"name": "a", "cpu": {"usageNanoCores": 5}}]}
    assert pod_metrics(pod("a"), {"pods": [half]}) is None
