"""An API server with much to do: 500 objects are applied, and nobody's probe fails for it."""

from __future__ import annotations

import json

import pytest
from image_cache import Images
from machine import Machine

pytestmark = pytest.mark.system

COUNT = 500


PROBED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: probed}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: probed}}}}
  template:
    metadata: {{labels: {{app: probed}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {image}
          args: ["-c", "trap 'exit 0' TERM; echo ok > /tmp/index.html; busybox httpd -f -p 8080 -h /tmp & wait"]
          startupProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
          readinessProbe: {{httpGet: {{port: 8080, path: /index.html}}, periodSeconds: 1, failureThreshold: 1}}
          livenessProbe: {{exec: {{command: [busybox, "true"]}}, periodSeconds: 1, failureThreshold: 1}}
"""


def manifests() -> str:
    items: list[dict[str, object]] = []
    for number in range(COUNT):
        metadata = {"name": f"o{number}", "namespace": "default"}
        labels = {"app": f"o{number}"}
        match number % 4:
            case 0:
                spec = {"selector": labels, "ports": [{"port": 80}]}
                items.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
            case 1:
                containers = [{"name": "c", "image": "example.test/none:1"}]
                template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
                spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
                items.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
            case _:
                data = {f"key{line}": "value " * 50 for line in range(10)}
                items.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return "\n---\n".join(map(json.dumps, items))


def failed_probes(shop: Machine) -> dict[str, int]:
    """How often each was told. While the example starts some truly fail: the application before Redis is there."""
    items = shop.get("events", "-A")["items"]
    return {item["metadata"]["name"]: item.get("count", 1) for item in items if item["reason"] == "Unhealthy"}


def test_no_probe_fails_while_much_is_applied(shop: Machine, images: Images) -> None:
    """Probes of one second's period and patience, where one failure would restart the container."""
    shop.apply(PROBED.format(image=images.tools))
    shop.kubectl("rollout", "status", "deployment/probed", "--timeout=60s", seconds=70)
    starts, before = shop.starts(), failed_probes(shop)
    tree = json.loads(shop.pilothouse("deploy", "-", "-o", "json", "--no-wait", stdin=manifests()))
    assert [item["outcome"] for item in tree["objects"]] == ["created"] * COUNT
    shop.kubectl("apply", "-f", "-", "--server-side", "--force-conflicts", stdin=manifests(), seconds=120)
    assert failed_probes(shop) == before
    assert shop.starts() == starts
    ready = [c for pod in shop.pods("-A") for c in pod["status"]["conditions"] if c["type"] == "Ready"]
    assert {c["status"] for c in ready} == {"True"}
