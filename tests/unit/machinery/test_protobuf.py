import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.protobuf.decode import MAGIC, decode_protobuf
from pilothouse.machinery.protobuf.table import _lines, plan
from pilothouse.machinery.schema import schema_for
from pilothouse.machinery.structural import examine

from .encode import blob, encode
from .trees import pod

# What kubectl 1.35.2 sends for `create deployment web --image=web:1 --replicas=3 --port=80`
# and `create service clusterip svc --tcp=80:http`.
DEPLOYMENT = (
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErYBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoQBCAMSDAoKCgNh"
    "cHASA3dlYhpqChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkoSLAoDd2ViEgV3ZWI6MSoAMgoKABAAGFAiACoAQgBqAHIA"
    "gAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"
)
SERVICE = (
    "azhzAAoNCgJ2MRIHU2VydmljZRJsCh8KA3N2YxIAGgAiACoAMgA4AEIAWgoKA2FwcBIDc3ZjEkUKHgoHODAtaHR0cBIDVENQGFAi"
    "CggBEAAaBGh0dHAoABIKCgNhcHASA3N2YxoAIglDbHVzdGVySVA6AEIAUgBaAGAAaAAaAgoAGgAiAA=="
)


def test_bodies_of_kubectl():
    deployment = decode_protobuf(base64.b64decode(DEPLOYMENT))
    assert deployment == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}], "resources": {}}]
                },
            },
            "strategy": {},
        },
        "status": {},
    }
    assert examine(schema_for("apps", "v1", "Deployment"), deployment).tree is deployment
    service = decode_protobuf(base64.b64decode(SERVICE))
    assert service["spec"]["ports"] == [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}]


def test_a_definition_comes_through_whole():
    fields = {
        "text": {"type": "string", "default": "x", "enum": ["x", "y"], "pattern": "^.$", "maxLength": 0},
        "number": {"type": "number", "maximum": 10, "minimum": 0.5, "exclusiveMaximum": True},
        "list": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
        "map": {"type": "object", "additionalProperties": True, "default": {"a": [1, None]}},
        "free": {"x-kubernetes-preserve-unknown-fields": True, "not": {"required": ["a"]}},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "keyed": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}},
        },
    }
    rule = {"rule": "true", "messageExpression": "'x'", "reason": "FieldValueInvalid", "optionalOldSelf": False}
    schema = {"type": "object", "properties": fields, "x-kubernetes-validations": [rule]}
    version = {
        "name": "v1",
        "served": True,
        "storage": False,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".a", "statusReplicasPath": ".b"}},
        "selectableFields": [{"jsonPath": ".spec.a"}],
    }
    service = {"namespace": "ns", "name": "hook", "port": 443}
    webhook = {"clientConfig": {"service": service, "caBundle": "eA=="}, "conversionReviewVersions": ["v1"]}
    tree = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "a.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"plural": "a", "kind": "A", "shortNames": ["b"]},
            "scope": "Cluster",
            "versions": [version],
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }
    assert decode_protobuf(encode(tree)) == tree


def test_a_pod_comes_through_whole():
    tree = pod()
    tree["metadata"]["creationTimestamp"] = "2026-01-02T03:04:05Z"
    tree["metadata"]["managedFields"] = [{"manager": "m", "fieldsV1": {"f:spec": {"f:x": {}}}}]
    tree["spec"]["terminationGracePeriodSeconds"] = 0
    tree["spec"]["containers"][0]["livenessProbe"] = {"exec": {"command": ["true"]}, "timeoutSeconds": 2}
    assert decode_protobuf(encode(tree)) == tree


def test_special_messages():
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "spec": {"renewTime": "2026-01-02T03:04:05.678901Z", "leaseTransitions": 0},
    }
    assert decode_protobuf(encode(lease)) == lease
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "u", "extra": {"k": ["a", "b"]}},
    }
    assert decode_protobuf(encode(review)) == review
    options = {"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "orphanDependents": False}
    assert decode_protobuf(encode(options)) == options
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "//79", "empty": ""}, "type": "x/y"}
    assert decode_protobuf(encode(secret)) == secret
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": -5}
    assert decode_protobuf(encode(priority)) == priority
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [{"verbs": ["get"]}]}
    assert decode_protobuf(encode(role)) == role


def test_a_map_entry_without_a_value_is_the_zero_value():
    key = blob(1, b"k")
    body = MAGIC + blob(1, blob(1, b"v1") + blob(2, b"ConfigMap")) + blob(2, blob(2, key) + blob(3, key))
    assert decode_protobuf(body)["data"] == {"k": ""}
    assert decode_protobuf(body)["binaryData"] == {"k": ""}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "does not begin"),
        (MAGIC + blob(1, blob(1, b"v1") + blob(2, b"Gadget")), "send JSON"),
        (MAGIC + blob(1, blob(1, b"v1") + blob(2, b"Pod")) + blob(3, b"gzip"), "uncompressed"),
        (MAGIC + b"\x0a\x7f", "ends after"),
        (MAGIC + b"\x0a", "ends too early"),
    ],
)
def test_bodies_that_cannot_be_read(body, message):
    with pytest.raises(BadRequest, match=message):
        decode_protobuf(body)


@given(st.binary(max_size=60), st.integers(0, 300))
def test_damage_is_refused_and_never_crashes(noise, at):
    body = base64.b64decode(DEPLOYMENT)
    for damaged in (body[:at], body[:at] + noise + body[at:], MAGIC + noise):
        try:
            decode_protobuf(damaged)
        except BadRequest:
            continue


def test_every_message_of_the_table_can_be_planned():
    for name in _lines():
        assert plan(name) is not None
