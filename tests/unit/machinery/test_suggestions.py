import pytest

from pilothouse.machinery.schema import schema_for
from pilothouse.machinery.structural import unknown_fields

CONTAINER = "spec.template.spec.containers[0]"


def suggested(spec):
    return [field.suggestion for field in unknown_fields(schema_for("apps", "v1", "Deployment"), {"spec": spec})]


def of_container(field):
    return {"template": {"spec": {"containers": [{field: 1}]}}}


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ({"replica": 1}, "spec.replicas"),
        ({"Replicas": 1}, "spec.replicas"),
        ({"containers": []}, "spec.template.spec.containers"),
        ({"image": "a"}, f"{CONTAINER}.image"),
        (of_container("hostNetwork"), "spec.template.spec.hostNetwork"),
        (of_container("volumes"), f"{CONTAINER}.volumeMounts"),
        (of_container("replicas"), "spec.replicas"),
        (of_container("runAsUser"), f"{CONTAINER}.securityContext.runAsUser"),
        (of_container("httpGet"), f"{CONTAINER}.livenessProbe.httpGet"),
        (of_container("environment"), ""),
        ({"name": "a"}, ""),
        ({"zzz": 1}, ""),
    ],
)
def test_what_was_probably_meant(spec, meant):
    assert suggested(spec) == [meant]
