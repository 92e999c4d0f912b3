"""Environment variables: expansion, references, services."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import from_tree
from pilothouse.node.environment import Sources, UnmetReference, environment, expand


def variables(container: dict[str, Any], sources: Sources, **spec: Any) -> dict[str, str]:
    tree = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", **container}], "serviceAccountName": "sa", **spec},
    }
    pod: Pod = from_tree(Pod, tree)
    return environment(pod, pod.spec.containers[0], sources)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("cost: 5$", "cost: 5$"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def test_later_values_win_and_see_earlier_ones() -> None:
    sources = Sources(config_maps={"cm": ConfigMap(data={"A": "cm", "B": "cm"})})
    container = {
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"configMapRef": {"name": "cm"}}],
        "env": [
            {"name": "A", "value": "own"},
            {"name": "C", "value": "$(A)-$(B)-$(D)"},
            {"name": "D", "value": "late"},
        ],
    }
    assert variables(container, sources) == {
        "P_A": "cm",
        "P_B": "cm",
        "A": "own",
        "B": "cm",
        "C": "own-cm-$(D)",
        "D": "late",
    }


def test_references() -> None:
    secret = Secret(data={"k": base64.b64encode(b"hidden").decode()})
    sources = Sources(
        secrets={"s": secret}, pod_ips=("10.0.0.2", "fd00::2"), host_ips=("192.0.2.1",), allocatable={"cpu": "2"}
    )
    container = {
        "resources": {"limits": {"memory": "64Mi"}},
        "env": [
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k", "optional": True}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
    }
    assert variables(container, sources) == {
        "S": "hidden",
        "IP": "10.0.0.2",
        "IPS": "10.0.0.2,fd00::2",
        "APP": "x",
        "MEM": "64",
        "CPU": "2",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "s", "key": "k"}}, 'secret "s" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "none"}}, "couldn't find key none in ConfigMap ns/cm"),
        ({"fieldRef": {"fieldPath": "spec.none"}}, "fieldRef spec.none"),
    ],
)
def test_unmet_references_say_what_is_missing(source: dict[str, Any], message: str) -> None:
    sources = Sources(config_maps={"cm": ConfigMap(data={})})
    with pytest.raises(UnmetReference, match=message.replace("(", r"\(")):
        variables({"env": [{"name": "A", "valueFrom": source}]}, sources)


def service(namespace: str, name: str, ip: str) -> Service:
    tree = {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": ip, "ports": [{"port": 80, "name": "web-port"}]},
    }
    result: Service = from_tree(Service, tree)
    return result


def test_service_variables() -> None:
    services = [
        service("ns", "my-db", "10.96.0.5"),
        service("ns", "headless", "None"),
        service("other", "x", "10.96.0.6"),
        service("ns", "six", "fd00::5"),
        service("default", "kubernetes", "10.96.0.1"),
    ]
    made = variables({}, Sources(services=services))
    assert (made["SIX_SERVICE_HOST"], made["SIX_PORT"]) == ("fd00::5", "tcp://[fd00::5]:80")
    assert made["SIX_PORT_80_TCP"] == made["SIX_PORT"]
    assert made["MY_DB_SERVICE_HOST"] == "10.96.0.5"
    assert made["MY_DB_SERVICE_PORT_WEB_PORT"] == "80"
    assert made["MY_DB_PORT_80_TCP"] == "tcp://10.96.0.5:80"
    assert made["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any(name.startswith(("HEADLESS", "X_")) for name in made)
    without = variables({}, Sources(services=services), enableServiceLinks=False)
    assert {name.split("_")[0] for name in without} == {"KUBERNETES"}
