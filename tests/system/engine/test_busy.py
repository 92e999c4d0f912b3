"""An API server with much to do: 500 objects are applied, and nobody's probe fails for it."""

from __future__ import annotations

import json

import pytest
from machine import Machine

pytestmark = pytest.mark.system

COUNT = 500


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


def test_no_probe_fails_while_much_is_applied(shop: Machine) -> None:
    starts = shop.starts()
    tree = json.loads(shop.pilothouse("deploy", "-", "-o", "json", "--no-wait", stdin=manifests()))
    assert [item["outcome"] for item in tree["objects"]] == ["created"] * COUNT
    shop.kubectl("apply", "-f", "-", "--server-side", "--force-conflicts", stdin=manifests(), seconds=120)
    unhealthy = [e["message"] for e in shop.get("events", "-n", "shop")["items"] if e["reason"] == "Unhealthy"]
    # A container that just starts may be asked before it listens: only its startup probe may then have failed.
    assert [message for message in unhealthy if not message.startswith("Startup")] == []
    assert shop.starts() == starts
    ready = [c for pod in shop.pods("-n", "shop") for c in pod["status"]["conditions"] if c["type"] == "Ready"]
    assert {c["status"] for c in ready} == {"True"}
