"""Custom resources for tests."""

from __future__ import annotations

from typing import Any

import orjson

from pilothouse.client.client import Client
from pilothouse.machinery.objects import Obj

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"


def cron_tab(name: str = "mine", **spec: Any) -> Obj:
    spec = {"cronSpec": "* * * * *", **spec}
    return {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec}


def schema(**properties: Any) -> Obj:
    """The schema of a kind whose spec has these fields."""
    spec = {"type": "object", "properties": properties}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}


def version(name: str, *, storage: bool = False, **more: Any) -> Obj:
    return {"name": name, "served": True, "storage": storage, "schema": schema(cronSpec={"type": "string"}), **more}


def definition(*versions: Obj, plural: str = "crontabs", kind: str = "CronTab", **names: Any) -> Obj:
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": list(versions) or [version("v1", storage=True)],
        },
    }


def full() -> Obj:
    """A definition with everything kubectl shows."""
    v1 = version(
        "v1",
        storage=True,
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        additionalPrinterColumns=[
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec", "description": "When it runs."},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        selectableFields=[{"jsonPath": ".spec.image"}],
    )
    v1["schema"] = schema(
        cronSpec={"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        image={"type": "string", "default": "nginx", "description": "What it runs."},
        replicas={"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
    )
    v1["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "type": "object",
        "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "ready": {"type": "boolean"}},
    }
    return definition(v1, shortNames=["ct"], categories=["all"])


def path(version: str = "v1", name: str = "", subresource: str = "") -> str:
    parts = [f"/apis/{GROUP}/{version}/namespaces/ns/crontabs", name, subresource]
    return "/".join(part for part in parts if part)


async def call(client: Client, method: str, url: str, body: Any = None, *, type: str = "", **query: str) -> Obj:
    found: Obj = orjson.loads(
        await client.request(method, url, body=body, query=list(query.items()), content_type=type or "application/json")
    )
    return found


MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
