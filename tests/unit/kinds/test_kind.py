import pytest

from pilothouse.kinds.apps import deployment as deployments
from pilothouse.kinds.catalogue import KINDS, by_kind, by_resource
from pilothouse.kinds.core import config_map, namespace, node, pod_kind, service
from pilothouse.kinds.kind import Kind, drop_nulls
from pilothouse.kinds.networking import ingress
from pilothouse.machinery.schema import published_kinds

from .trees import changed, defaulted, deployment, faults, pod

CONFIG = {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}}


def test_every_kind_is_found_by_its_names() -> None:
    for kind in KINDS:
        resource = kind.resource
        assert by_resource(resource.group, resource.version, resource.plural) is kind
        assert by_kind(resource.group, resource.version, resource.kind) is kind
        assert kind.singular == resource.kind.lower()
    assert by_resource("", "v1", "nothing") is None
    assert by_kind("apps", "v2", "Deployment") is None


def test_short_names_are_unambiguous() -> None:
    once = [kind for kind in KINDS if kind.stored_as is None]
    names = [name for kind in once for name in (*kind.short_names, *{kind.singular, kind.resource.plural})]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: f"{kind.resource.kind}.{kind.resource.version}.{kind.resource.group}"
)
def test_every_kind_copes_with_an_almost_empty_object(kind: Kind) -> None:
    tree = {"metadata": {"name": "x", **({"namespace": "shop"} if kind.resource.namespaced else {})}}
    kind.default(tree)
    once = defaulted(kind, tree)
    assert once == tree, "defaults given twice are the same as given once"
    kind.prepare_create(tree)
    kind.validate(tree)
    assert kind.selectable_fields(tree)["metadata.name"] == "x"
    for column in kind.columns:
        assert isinstance(column.value(tree), str | int), column.name


def test_nulls_mean_not_given() -> None:
    tree = {"a": None, "b": {"c": None, "d": [{"e": None, "f": 1}, None]}, "g": ""}
    drop_nulls(tree)
    assert tree == {"b": {"d": [{"f": 1}, None]}, "g": ""}


def test_creation_clears_the_status_and_starts_the_generation() -> None:
    tree = deployment() | {"status": {"replicas": 9}}
    tree["metadata"]["generation"] = 7
    deployments.KIND.prepare_create(tree)
    assert tree["status"] == {}
    assert tree["metadata"]["generation"] == 1


def test_a_kind_without_generation_gets_none() -> None:
    tree = changed(CONFIG, "metadata.generation", 3)
    config_map.KIND.prepare_create(tree)
    assert "generation" not in tree["metadata"]


def test_a_node_may_register_with_its_status() -> None:
    tree = {"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "2"}}}
    node.KIND.prepare_create(tree)
    assert tree["status"] == {"capacity": {"cpu": "2"}}


@pytest.mark.parametrize(
    ("path", "value", "generation"),
    [("spec.replicas", 5, 4), ("metadata.labels", {"a": "b"}, 3), ("status", {"replicas": 9}, 3)],
)
def test_only_a_change_of_the_spec_counts_as_a_generation(path: str, value: object, generation: int) -> None:
    old = changed(deployment() | {"status": {"replicas": 1}}, "metadata.generation", 3)
    new = changed(changed(old, path, value), "metadata.generation", 99)
    deployments.KIND.prepare_update(new, old)
    assert new["metadata"]["generation"] == generation
    assert new["status"] == {"replicas": 1}


def test_a_status_update_changes_only_status_and_labels() -> None:
    old = changed(deployment(), "metadata.generation", 3)
    new = changed(changed(old, "spec.replicas", 9), "status", {"replicas": 2})
    new["metadata"] |= {"labels": {"a": "b"}, "generation": 8, "ownerReferences": [{"name": "x"}]}
    new["data"] = {}
    deployments.KIND.prepare_status_update(new, old)
    assert new["spec"] == old["spec"]
    assert new["status"] == {"replicas": 2}
    assert new["metadata"] == {**old["metadata"], "labels": {"a": "b"}}
    assert "data" not in new


def test_namespaces_start_active_labelled_and_held() -> None:
    tree: dict[str, object] = {"metadata": {"name": "shop"}, "status": {"phase": "Terminating"}}
    namespace.KIND.default(tree)
    namespace.KIND.prepare_create(tree)
    assert tree == {
        "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    new = changed(tree, "spec.finalizers", [])
    namespace.KIND.prepare_update(new, tree)
    assert new["spec"] == {"finalizers": ["kubernetes"]}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("metadata.name", "Settings", "metadata.name: Invalid value"),
        ("metadata.name", "", "metadata.name: Required value: name or generateName is required"),
        ("metadata.namespace", "", "metadata.namespace: Required value"),
        ("metadata.labels", {"a b": "c"}, 'metadata.labels: Invalid value: "a b"'),
        ("metadata.labels", {"a": "b c"}, 'metadata.labels: Invalid value: "b c"'),
        ("metadata.annotations", {"a": "x" * 262144}, "metadata.annotations: Too long: may not be more than 262144"),
        ("metadata.finalizers", ["mine"], "metadata.finalizers[0]: Invalid value"),
        (
            "metadata.ownerReferences",
            [{"apiVersion": "v1", "kind": "Pod", "name": "p"}],
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
        (
            "metadata.ownerReferences",
            [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in ("p", "q")],
            'Found "true" in references for Pod/p and Pod/q',
        ),
    ],
)
def test_metadata_of_any_kind_is_checked(path: str, value: object, expected: str) -> None:
    found = faults(config_map.KIND, changed(CONFIG, path, value))
    assert len(found) == 1
    assert expected in found[0]


def test_an_object_being_deleted_takes_no_new_finalizers() -> None:
    old = changed(CONFIG, "metadata.deletionTimestamp", "2026-01-01T00:00:00Z")
    new = changed(old, "metadata.finalizers", ["example.com/a"])
    assert faults(config_map.KIND, new, old) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        "found new: example.com/a"
    ]


def test_identity_does_not_change() -> None:
    old = changed(CONFIG, "metadata.uid", "1")
    found = faults(config_map.KIND, changed(changed(old, "metadata.uid", "2"), "metadata.name", "other"), old)
    assert found == [
        'metadata.name: Invalid value: "other": field is immutable',
        'metadata.uid: Invalid value: "2": field is immutable',
    ]


def test_pods_can_be_selected_by_node_and_phase() -> None:
    tree = defaulted(pod_kind.KIND, pod(nodeName="n1"))
    pod_kind.KIND.prepare_create(tree)
    fields = pod_kind.KIND.selectable_fields(tree)
    assert fields["spec.nodeName"] == "n1"
    assert fields["status.phase"] == "Pending"
    assert fields["spec.hostNetwork"] == "false"
    assert fields["metadata.namespace"] == "shop"


NOT_KEPT = {
    "APIGroup",
    "APIVersions",
    "Binding",
    "DeleteOptions",
    "Eviction",
    "LocalSubjectAccessReview",
    "Scale",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "Status",
    "SubjectAccessReview",
    "TokenRequest",
    "TokenReview",
    "WatchEvent",
}
"""Published kinds that are asked for or posted, and kept nowhere."""
NOT_YET = {"ComponentStatus"}


def test_every_stable_kind_of_the_level_is_served() -> None:
    stable = {gvk for gvk in published_kinds() if gvk.version in ("v1", "v2") and not gvk.kind.endswith("List")}
    served = {(kind.resource.group, kind.resource.version, kind.resource.kind) for kind in KINDS}
    missing = {gvk.kind for gvk in stable - served}
    assert missing - NOT_YET == NOT_KEPT


@pytest.mark.parametrize("kind", [service.KIND, ingress.KIND], ids=lambda kind: kind.view.__name__)
def test_a_load_balancers_status_is_there_from_the_start(kind: Kind) -> None:
    tree = {"metadata": {"name": "x"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    kind.prepare_create(tree)
    assert tree["status"] == {"loadBalancer": {}}
