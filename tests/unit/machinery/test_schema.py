import pytest

from pilothouse.machinery.schema import UnknownKind, schema_for


def test_lists_and_their_keys():
    pod_spec = schema_for("", "v1", "Pod").root.properties["spec"]
    containers = pod_spec.properties["containers"]
    assert (containers.type, containers.list_type, containers.list_map_keys) == ("array", "map", ("name",))
    assert (containers.merge_key, containers.patch_strategy) == ("name", {"merge"})
    ports = containers.items.properties["ports"]
    assert ports.list_map_keys == ("containerPort", "protocol")
    assert ports.items.properties["protocol"].default == "TCP"
    assert containers.items.properties["command"].list_type == "atomic"
    assert pod_spec.properties["volumes"].patch_strategy == {"merge", "retainKeys"}
    assert pod_spec.properties["nodeSelector"].atomic


def test_special_types():
    port = schema_for("", "v1", "Service").root.properties["spec"].properties["ports"].items
    assert port.properties["targetPort"].type == "int-or-string"
    assert port.properties["protocol"].default == "TCP"
    assert port.required == {"port"}
    resources = schema_for("", "v1", "Pod").root.properties["spec"].properties["containers"].items
    assert resources.properties["resources"].properties["limits"].items.type == "quantity"
    strategy = schema_for("apps", "v1", "Deployment").root.properties["spec"].properties["strategy"]
    assert strategy.patch_strategy == {"retainKeys"}


def test_what_is_not_published_is_named():
    with pytest.raises(UnknownKind, match="Gadget"):
        schema_for("apps", "v1", "Gadget")
