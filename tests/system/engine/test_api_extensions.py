"""The recipe for custom resources as written, on a running engine; what extension servers need; the audit log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from machine import Machine, until

pytestmark = pytest.mark.system

RECIPE = Path(__file__).parents[3] / "docs" / "recipes" / "custom-resources.md"


def test_the_recipe_works_and_the_kind_outlives_control(engine: Machine) -> None:
    found = re.search(r"<<'YAML'\n(.*?)\nYAML\n", RECIPE.read_text(), re.DOTALL)
    assert found is not None
    file = engine.root / "ferry.yaml"
    file.write_text(found[1])
    said = engine.pilothouse("deploy", str(file))
    assert "ferry/early created" in said
    refused = engine.kubectl("patch", "ferry", "early", "--type", "merge", "-p", '{"spec":{"booked":41}}', code=1)
    assert "more are booked than there are seats" in refused
    engine.kill("control")
    engine.wait_ready()
    assert engine.get("ferries")["items"][0]["spec"] == {"from": "north-quay", "seats": 40, "booked": 0}
    # The controllers have it too: what a ferry owns goes with it, and instances go with their definition.
    uid = engine.get("ferry", "early")["metadata"]["uid"]
    engine.apply(f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: owned
  ownerReferences: [{{apiVersion: harbour.example.com/v1, kind: Ferry, name: early, uid: {uid}}}]
""")
    engine.kubectl("delete", "crd", "ferries.harbour.example.com", "--timeout=30s")
    engine.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=30s")


def test_an_extension_server_finds_whom_it_may_believe(engine: Machine) -> None:
    data = engine.get("configmap", "-n", "kube-system", "extension-apiserver-authentication")["data"]
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert "BEGIN CERTIFICATE" in data["requestheader-client-ca-file"]
    engine.apply("""
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.away.example.com}
spec:
  {group: away.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true,
   service: {namespace: default, name: away}}
""")
    engine.kubectl("wait", "--for=condition=Available=False", "apiservice/v1.away.example.com", "--timeout=30s")
    assert "ServiceNotFound" in engine.kubectl("get", "apiservices")
    engine.kubectl("get", "pods")
    engine.kubectl("delete", "apiservice", "v1.away.example.com")


def test_what_was_done_is_in_the_audit_log(engine: Machine) -> None:
    engine.kubectl("create", "secret", "generic", "hush", "--from-literal=word=swordfish")
    engine.kubectl("auth", "whoami", "--as", "nobody")

    def recorded() -> list[dict[str, Any]]:
        text = (engine.data_dir / "audit" / "audit.log").read_text()
        assert "swordfish" not in text
        events = [json.loads(line) for line in text.splitlines()]
        return [event for event in events if event.get("impersonatedUser", {}).get("username") == "nobody"]

    assert until(recorded, "the impersonation is recorded")[0]["user"]["username"] == "pilothouse-admin"
    events = [json.loads(line) for line in (engine.data_dir / "audit" / "audit.log").read_text().splitlines()]
    (created,) = [e for e in events if e["verb"] == "create" and e["objectRef"].get("name") == "hush"]
    assert (created["level"], created["user"]["username"]) == ("Metadata", "pilothouse-admin")
    assert created["userAgent"].startswith("kubectl")
    # The engine's own parts do not fill it.
    assert not [e for e in events if e["verb"] in ("get", "list", "watch") and "system:controller" in str(e["user"])]
