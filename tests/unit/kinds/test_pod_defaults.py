import pytest

from pilothouse.kinds.core.pod_defaults import default_template, pull_policy
from pilothouse.kinds.core.pod_kind import KIND
from pilothouse.kinds.core.pod_qos import qos_class

from .trees import container, defaulted, pod

HTTP = {"path": "/", "port": 80, "scheme": "HTTP"}
COUNTS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def test_a_plain_pod() -> None:
    assert defaulted(KIND, pod())["spec"] == {
        "containers": [
            {
                "name": "app",
                "image": "registry.test/app:1",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
        ({"livenessProbe": {"httpGet": {"port": 80}}}, {"livenessProbe": {"httpGet": HTTP, **COUNTS}}),
        (
            {"startupProbe": {"grpc": {"port": 5}, "periodSeconds": 2}},
            {"startupProbe": {"grpc": {"port": 5, "service": ""}, **COUNTS, "periodSeconds": 2}},
        ),
        ({"lifecycle": {"preStop": {"httpGet": {"port": 80}}}}, {"lifecycle": {"preStop": {"httpGet": HTTP}}}),
        (
            {"resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}},
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}},
        ),
        (
            {"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            {"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}]},
        ),
        (
            {"env": [{"name": "N", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]},
            {"env": [{"name": "N", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}}]},
        ),
    ],
    ids=["port", "http probe", "grpc probe", "hook", "resources", "field", "resource field"],
)
def test_of_a_container(given: dict[str, object], expected: dict[str, object]) -> None:
    found = defaulted(KIND, pod(containers=[container(**given)]))["spec"]["containers"][0]
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 0o644}}),
        ({"configMap": {"name": "c", "defaultMode": 0o600}}, {"configMap": {"name": "c", "defaultMode": 0o600}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "downwardAPI": {
                    "defaultMode": 0o644,
                    "items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}],
                }
            },
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {
                "projected": {
                    "defaultMode": 0o644,
                    "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}],
                }
            },
        ),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1024Mi"}}}}}},
            {
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {"volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}}
                    }
                }
            },
        ),
    ],
    ids=["none", "secret", "config map", "host path", "empty dir", "downward", "projected", "ephemeral"],
)
def test_of_a_volume(given: dict[str, object], expected: dict[str, object]) -> None:
    found = defaulted(KIND, pod(volumes=[{"name": "v", **given}]))
    assert found["spec"]["volumes"] == [{"name": "v", **expected}]


def test_host_network_takes_the_container_ports() -> None:
    spec = defaulted(KIND, pod(hostNetwork=True, containers=[container(ports=[{"containerPort": 80}])]))["spec"]
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]


def test_a_template_gets_no_requests_and_no_service_links() -> None:
    template = {"spec": {"containers": [container(resources={"limits": {"cpu": "1"}})]}}
    default_template(template)
    assert template["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    assert "enableServiceLinks" not in template["spec"]


def test_the_old_name_of_the_service_account_is_understood() -> None:
    spec = defaulted(KIND, pod(serviceAccount="robot"))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "robot"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1.2", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_the_tag_decides_when_to_pull(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ([{}], "BestEffort"),
        ([{"limits": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[dict[str, object]], qos: str) -> None:
    containers = [container(name=f"c{index}", resources=each) for index, each in enumerate(resources)]
    assert qos_class({"containers": containers}) == qos


def test_creation_makes_a_pod_pending() -> None:
    tree = defaulted(KIND, pod(schedulingGates=[{"name": "example.com/wait"}])) | {"status": {"phase": "Running"}}
    KIND.prepare_create(tree)
    assert (tree["status"]["phase"], tree["status"]["qosClass"]) == ("Pending", "BestEffort")
    assert tree["status"]["conditions"][0]["reason"] == "SchedulingGated"
