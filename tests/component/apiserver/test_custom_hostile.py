"""Definitions and objects spoiled at random: each is answered, none makes the server fail."""

import copy
import logging
import random
from typing import Any

import orjson
import pytest
from custom_things import APPLY, DEFINITIONS, GROUP, MERGE, cron_tab, full, path

from pilothouse.client.client import Client
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, "", "x", "a.b", "\u0000", [], {}, [None], {"a": 1}, [{}], {"": ""}, [[[]]], 2**63),
    *({"type": "object"}, {"type": "array"}, {"type": "string", "pattern": "("}, {"$ref": "#"}),
]
KEYS = (
    *("type", "properties", "items", "additionalProperties", "required", "enum", "default", "pattern", "format"),
    *("minimum", "maxLength", "anyOf", "allOf", "not", "nullable", "x-kubernetes-preserve-unknown-fields"),
    *("x-kubernetes-int-or-string", "x-kubernetes-embedded-resource", "x-kubernetes-list-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations", "metadata", "spec", "status"),
    *("name", "names", "plural", "kind", "group", "versions", "schema", "subresources", "scale", "jsonPath", "rule"),
    *("additionalPrinterColumns", "conversion", "selectableFields", "apiVersion", "finalizers", "labels"),
    *("ownerReferences", "generateName"),
)


def everything() -> Obj:
    tree = full()
    spec = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    entry = {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}, "v": {"type": "integer"}}}
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    free = {"x-kubernetes-preserve-unknown-fields": True}
    spec["properties"] |= {
        "keyed": {"type": "array", **keyed, "items": entry},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": True, **free},
        "port": {"x-kubernetes-int-or-string": True},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    spec["x-kubernetes-validations"] = [{"rule": "self.replicas <= 10"}]
    return tree


def spoiled(tree: Obj, chance: random.Random) -> Obj:
    result = copy.deepcopy(tree)
    for _ in range(chance.randint(1, 3)):
        node: Any = result
        for _ in range(chance.randint(0, 9)):
            inner = [v for v in (node.values() if isinstance(node, dict) else node) if isinstance(v, (dict, list))]
            if not inner:
                break
            node = chance.choice(inner)
        value = copy.deepcopy(chance.choice(VALUES))
        if isinstance(node, list):
            node.append(value)
        elif node and chance.random() < 0.5:
            node[chance.choice(list(node))] = value
        else:
            node[chance.choice(KEYS)] = value
    return result


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_comes_is_answered(plane: ControlPlane, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance, client = random.Random(seed), plane.client()
    embedded = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    good = cron_tab(keyed=[{"n": "a"}], embedded=embedded, port=5, map={"a": "b"})
    namespace = {"metadata": {"name": "ns"}}
    for url, tree in (("/api/v1/namespaces", namespace), (DEFINITIONS, everything()), (path(), good)):
        assert (await client.send("POST", url, body=orjson.dumps(tree))).status == 201
    codes: set[int] = set()
    for _ in range(400):
        codes.add(await one(client, good, chance))
    assert codes <= {200, 201, 400, 404, 405, 409, 415, 422}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def one(client: Client, good: Obj, chance: random.Random) -> int:
    part = chance.choice(["", "status", "scale"])
    patch_type = chance.choice([MERGE, APPLY, "application/json-patch+json"])
    method, url, tree, type_ = chance.choice(
        [
            ("POST", DEFINITIONS, everything(), ""),
            ("PUT", f"{DEFINITIONS}/crontabs.{GROUP}", everything(), ""),
            ("POST", path(), good, ""),
            ("PUT", path(name="mine", subresource=part), good, ""),
            ("PATCH", path(name="mine", subresource=part), good, patch_type),
        ]
    )
    query = [("fieldManager", "x"), ("force", "true"), ("dryRun", "All")]
    body = orjson.dumps(spoiled(tree, chance))
    return (await client.send(method, url, body=body, query=query, content_type=type_)).status
