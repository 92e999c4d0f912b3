import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.schema import schema_for
from pilothouse.machinery.strict_json import strict_json
from pilothouse.machinery.structural import examine, prune, strict_error, type_error, unknown_fields, validate

from .trees import deployment, pod

POD = schema_for("", "v1", "Pod")
DEPLOYMENT = schema_for("apps", "v1", "Deployment")


def test_a_good_tree_passes_through_untouched():
    tree = pod()
    assert examine(POD, tree).tree is tree
    assert validate(POD, tree) == []
    assert unknown_fields(POD, tree) == []


def test_unknown_fields_are_named_with_what_was_meant():
    tree = deployment(replicsa=3)
    tree["spec"]["template"]["spec"]["containers"][0]["imagePullPolicey"] = "Always"
    tree["spec"]["template"]["spec"]["containers"][0]["runAsUser"] = 1
    tree["spec"]["zzz"] = 1
    found = unknown_fields(DEPLOYMENT, tree)
    container = "spec.template.spec.containers[0]"
    assert [(field.path, field.suggestion) for field in found] == [
        (f"{container}.imagePullPolicey", f"{container}.imagePullPolicy"),
        (f"{container}.runAsUser", f"{container}.securityContext.runAsUser"),
        ("spec.replicsa", "spec.replicas"),
        ("spec.zzz", ""),
    ]
    error = strict_error(DEPLOYMENT.gvk, found[2:3], after=['duplicate field "spec.replicas"'])
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.replicsa", duplicate field "spec.replicas"; did you mean "spec.replicas"?'
    )
    assert prune(DEPLOYMENT, tree) == deployment()


def test_types_are_checked():
    tree = deployment(replicas="three", paused=1, minReadySeconds=2**31, template=[])
    causes = validate(DEPLOYMENT, tree)
    assert {cause.field: cause.message for cause in causes} == {
        "spec.replicas": 'Invalid value: "string": spec.replicas must be of type integer: "string"',
        "spec.paused": 'Invalid value: "integer": spec.paused must be of type boolean: "integer"',
        "spec.minReadySeconds": "Invalid value: 2147483648: spec.minReadySeconds does not fit in int32",
        "spec.template": 'Invalid value: "array": spec.template must be of type object: "array"',
    }
    assert type_error(DEPLOYMENT.gvk, causes[:1]).message.startswith("Deployment in version")


def test_formats_are_checked():
    secret = schema_for("", "v1", "Secret")
    assert validate(secret, {"data": {"a": "aGk="}}) == []
    assert [cause.field for cause in validate(secret, {"data": {"a": "not base64"}})] == ["data.a"]
    assert [c.field for c in validate(secret, {"metadata": {"creationTimestamp": "today"}})] == [
        "metadata.creationTimestamp"
    ]


def test_what_is_stored_has_no_nulls_and_canonical_quantities():
    tree = pod()
    tree["metadata"]["creationTimestamp"] = None
    tree["metadata"]["labels"]["empty"] = None
    tree["spec"]["containers"][0]["resources"]["limits"] = {"cpu": 0.5, "memory": "1024Mi"}
    tree["spec"]["containers"][1]["resources"]["limits"] = {"cpu": "half"}
    result = examine(POD, tree)
    assert "creationTimestamp" not in result.tree["metadata"]
    assert result.tree["metadata"]["labels"]["empty"] == ""
    assert result.tree["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    assert [cause.field for cause in result.causes] == ["spec.containers[1].resources.limits.cpu"]
    assert tree["metadata"]["creationTimestamp"] is None


def test_parts_without_a_schema_are_left_alone():
    revision = schema_for("apps", "v1", "ControllerRevision")
    tree = {
        "metadata": {"name": "a", "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
        "data": {"any": [None, 1]},
        "revision": 1,
    }
    assert examine(revision, tree).tree is tree


def test_duplicate_fields_are_found_by_path():
    body = b'{"a": {"b": 1, "b": 2}, "l": [{"x": 1}, {"x": 1, "x": 1, "y": 0}], "a": {"b": 1, "c": 1, "c": 3}}'
    decoded = strict_json(body)
    assert decoded.duplicates == tuple(f'duplicate field "{path}"' for path in ("a", "a.c", "l[1].x"))
    assert decoded.value["a"] == {"b": 1, "c": 3}
    assert strict_json(body, duplicates=False).duplicates == ()
    with pytest.raises(BadRequest, match="not JSON"):
        strict_json(b"{a}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["replicas", "selector", "template", "strategy", "paused", "x"]), json_values))
def test_pruning_is_idempotent_and_leaves_nothing_unknown(spec):
    once = prune(DEPLOYMENT, {"spec": spec})
    assert unknown_fields(DEPLOYMENT, once) == []
    if not validate(DEPLOYMENT, {"spec": spec}):
        assert prune(DEPLOYMENT, once) is once


@given(json_values)
def test_strict_decoding_gives_the_same_value(value):
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    assert strict_json(body).value == orjson.loads(body)
