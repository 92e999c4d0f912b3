"""A second machine joins by a token: it gets a certificate and a pod range of its own; pods reach each other."""

from __future__ import annotations

import re

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

PAIR = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: pair}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "echo {name} > /tmp/index.html; trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /tmp & wait"]
      readinessProbe: {{httpGet: {{port: 8080, path: /index.html}}, periodSeconds: 1}}
---
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: pair}
spec: {selector: {app: pair}, ports: [{port: 80, targetPort: 8080}]}
"""


def token_of(first: Machine) -> tuple[str, str]:
    """The address and the token that `node token` prints."""
    words = first.pilothouse("node", "token").split()
    return words[words.index("join") + 1], words[words.index("--token") + 1]


def join(second: Machine, address: str, token: str, code: int = 0) -> str:
    named = ("--node-name", second.name, "--node-address", second.address, "--background")
    return second.pilothouse("node", "join", address, "--token", token, *named, code=code, seconds=150)


def ready_nodes(machine: Machine) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in machine.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }


@pytest.fixture(scope="module")
def joinable(two_machines: tuple[Machine, Machine]) -> tuple[Machine, Machine, str, str]:
    first, second = two_machines
    first.up()
    return first, second, *token_of(first)


@pytest.fixture(scope="module")
def cluster(joinable: tuple[Machine, Machine, str, str], images: Images) -> tuple[Machine, Machine]:
    """Two machines that are one cluster, a pod on each behind one Service."""
    first, second, address, token = joinable
    join(second, address, token)
    until(lambda: ready_nodes(first) == {first.name, second.name}, "both nodes are ready")
    manifest = "".join(
        PAIR.format(name=f"on-{n}", node=m.name, image=images.tools) for n, m in enumerate((first, second))
    )
    first.apply(manifest + SERVICE)
    first.kubectl("wait", "pod", "-l", "app=pair", "--for=condition=Ready", "--timeout=60s", seconds=70)
    return first, second


def test_a_token_that_is_none(joinable: tuple[Machine, Machine, str, str]) -> None:
    _, second, address, _ = joinable
    said = join(second, address, "friend", code=1)
    assert said.startswith("error: ")
    assert "pilothouse node token" in said


def test_a_token_of_another_cluster(joinable: tuple[Machine, Machine, str, str]) -> None:
    """The fingerprint in it is not that of the authority found there: nothing is sent."""
    _, second, address, token = joinable
    version, _, *rest = token.split(".")
    said = join(second, address, ".".join([version, "0" * 64, *rest]), code=1)
    assert re.search(r"fingerprint|authority|certificate", said), said
    second.pilothouse("down", "--purge")


def test_a_token_that_is_not_known(joinable: tuple[Machine, Machine, str, str]) -> None:
    _, second, address, token = joinable
    said = join(second, address, token[:-16] + "0123456789abcdef", code=1)
    assert "token" in said, said
    second.pilothouse("down", "--purge")


def test_an_address_where_nobody_answers(joinable: tuple[Machine, Machine, str, str]) -> None:
    first, second, _, token = joinable
    said = join(second, f"{first.address}:6999", token, code=1)
    assert f"{first.address}:6999" in said
    second.pilothouse("down", "--purge")


def test_each_node_has_a_range_and_a_certificate(cluster: tuple[Machine, Machine]) -> None:
    first, second = cluster
    ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in first.get("nodes")["items"]}
    assert ranges.keys() == {first.name, second.name}
    assert len(set(ranges.values())) == 2
    subjects = [
        first.run("openssl", "x509", "-noout", "-subject", "-in", str(machine.data_dir / "node" / "client.pem"))
        for machine in cluster
    ]
    assert [f"system:node:{m.name}" in subject for m, subject in zip(cluster, subjects, strict=True)] == [True, True]
    assert "control" not in [name for name, pid in second.pids().items() if pid]


def test_pods_reach_each_other_and_the_service(cluster: tuple[Machine, Machine]) -> None:
    first, _ = cluster
    address = first.cluster_address("pair", "default")
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in first.pods("-l", "app=pair")}
    for machine in cluster:
        for name, ip in pods.items():
            assert machine.fetch(f"http://{ip}:8080/index.html").strip() == name
        answers = {machine.fetch(f"http://{address}/index.html").strip() for _ in range(30)}
        assert answers == set(pods)
    for name in pods:
        for other, ip in pods.items():
            script = f"exec 3<>/dev/null; echo -e 'GET /index.html HTTP/1.0\\r\\n\\r' | busybox nc {ip} 8080"
            assert other in first.kubectl("exec", name, "--", "sh", "-c", script)


def test_streams_go_to_the_other_machine(cluster: tuple[Machine, Machine]) -> None:
    first, second = cluster
    assert first.kubectl("exec", "-i", "on-1", "--", "busybox", "cat", stdin="over there\n") == "over there\n"
    first.kubectl("logs", "on-1")
    assert second.name in until(lambda: first.kubectl("top", "nodes", "--no-headers"), "usage is known", 60)


def test_a_machine_that_goes_is_noticed(cluster: tuple[Machine, Machine]) -> None:
    first, second = cluster
    pod = next(p for p in first.pods("-l", "app=pair") if p["spec"]["nodeName"] == second.name)
    second.pilothouse("stop")
    # Its pod goes on by itself.
    assert second.fetch(f"http://{pod['status']['podIP']}:8080/index.html").strip() == "on-1"
    until(lambda: ready_nodes(first) == {first.name}, "the node is no longer ready", 90)
    join(second, *token_of(first))
    until(lambda: len(ready_nodes(first)) == 2, "it is back")
    (same,) = [p for p in first.pods("-l", "app=pair") if p["metadata"]["name"] == "on-1"]
    assert same["status"]["containerStatuses"][0]["restartCount"] == 0
