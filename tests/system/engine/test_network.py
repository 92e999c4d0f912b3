"""Flows, denials and advice of a real cluster, as people see them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

WORLD = """\
apiVersion: v1
kind: Namespace
metadata: {{name: net}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: net}}
spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: 81, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: net, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "echo hello > /tmp/index.html; trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /tmp & wait"]
      readinessProbe: {{httpGet: {{port: 8080, path: /index.html}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: net, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: {image}, args: ["-c", "trap 'exit 0' TERM; sleep 1d & wait"]}}]
"""
ASK = "busybox printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {} {} | busybox tail -n 1"


@pytest.fixture(scope="module")
def net(engine: Machine, images: Images) -> Iterator[Machine]:
    engine.apply(WORLD.format(image=images.tools))
    engine.kubectl("-n", "net", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    yield engine
    engine.kubectl("delete", "namespace", "net", "--wait=false")


def ask(machine: Machine, host: str, port: int) -> str:
    return machine.kubectl("exec", "-n", "net", "client", "--", "sh", "-c", ASK.format(host, port)).strip()


def resolve(machine: Machine) -> str:
    return machine.kubectl("exec", "-n", "net", "client", "--", "busybox", "nslookup", "web.net.svc.cluster.local")


def test_advice_keeps_what_was_seen_and_nothing_else(net: Machine) -> None:
    service = net.cluster_address("web", "net")
    until(lambda: service in resolve(net), "the service's name is answered")
    until(lambda: ask(net, service, 81) == "hello", "the client reaches the service")
    until(lambda: net.fetch(f"http://{net.address}:81/index.html") == "hello\n", "the load balancer answers")
    status = net.get("service", "web", "-n", "net")["status"]
    assert status["loadBalancer"]["ingress"] == [{"ip": net.address, "ipMode": "VIP"}]
    until(lambda: "net/web" in net.pilothouse("network", "flows", "-n", "net"), "the flow is listed")
    advice = net.pilothouse("network", "advise", "net")
    policies = [policy for policy in yaml.safe_load_all(advice) if policy]
    assert {policy["metadata"]["name"] for policy in policies} == {"web", "client"}
    assert "k8s-app: kube-dns" in advice
    assert "none of" in net.pilothouse("network", "advise", "net", "--replay", "-", stdin=advice)
    net.apply(advice)
    until(lambda: ask(net, service, 81) == "hello" and service in resolve(net), "what was recorded still works")
    address = net.get("pod", "web", "-n", "net")["status"]["podIP"]

    def denied() -> str:
        assert not ask(net, address, 9999)
        return net.pilothouse("network", "denied", "-n", "net")

    until(lambda: "9999/tcp" in denied(), "the denied flow is listed")
    tree = json.loads(net.pilothouse("network", "denied", "-n", "net", "-o", "json"))
    (item,) = [item for item in tree["items"] if item["port"] == 9999 and item["direction"] == "egress"]
    assert item["policies"] == ["net/client"]
    assert tree["policies"]["net/client"] >= 1
