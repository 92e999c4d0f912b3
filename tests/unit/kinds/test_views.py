"""Typed views against the published schemas: a field that the API does not have would never be filled."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import kubernetes_validate
import msgspec
import pytest
from msgspec import inspect

import pilothouse.kinds
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition, Object, View, api_name, from_tree, to_tree
from pilothouse.machinery.guard_schemas import GUARD_DEFINITIONS

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.35.0-local"


def _views() -> dict[str, type[View]]:
    found: dict[str, type[View]] = {}
    for module in pkgutil.walk_packages(pilothouse.kinds.__path__, "pilothouse.kinds."):
        for value in vars(importlib.import_module(module.name)).values():
            # A Condition stands for the conditions of every kind, each of which has some of its fields.
            if isinstance(value, type) and issubclass(value, View) and value not in (View, Object, Condition):
                found[f"{value.__module__}.{value.__name__}"] = value
    return found


@lru_cache(maxsize=1)
def _files() -> frozenset[str]:
    return frozenset(path.name for path in _SCHEMAS.iterdir())


def _schema(view: type[View]) -> dict[str, object]:
    own = GUARD_DEFINITIONS.get(f"dev.pilothouse.guard.v1alpha1.{view.__name__}")
    if own is not None:
        return own
    group, name = view.__module__.split(".")[2], view.__name__.lower()
    exact = [*(f"{name}-{group}-{version}.json" for version in ("v2", "v1", "v1beta1"))]
    exact += [f"{name}-v1.json", f"{name}-meta-v1.json"]
    file = next((file for file in exact if file in _files()), None)
    assert file is not None, f"no schema for {view.__name__}"
    loaded: dict[str, object] = json.loads((_SCHEMAS / file).read_text())
    return loaded


@pytest.mark.parametrize("view", _views().values(), ids=lambda view: view.__name__)
def test_every_field_of_a_view_is_one_of_the_api(view: type[View]) -> None:
    properties = _schema(view)["properties"]
    assert isinstance(properties, dict)
    assert {field.encode_name for field in msgspec.structs.fields(view)} <= properties.keys()


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("pod_ip", "podIP"),
        ("host_ips", "hostIPs"),
        ("container_id", "containerID"),
        ("downward_api", "downwardAPI"),
        ("non_resource_urls", "nonResourceURLs"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
        ("from_", "from"),
        ("ip_block", "ipBlock"),
        ("http_get", "httpGet"),
    ],
)
def test_names_follow_the_rule(field: str, name: str) -> None:
    assert api_name(field) == name


def test_a_view_reads_a_tree_and_ignores_what_it_does_not_know() -> None:
    tree = {
        "metadata": {"name": "web", "namespace": "shop", "managedFields": [{}]},
        "spec": {"containers": [{"name": "app", "image": "i", "ports": [{"containerPort": 80}], "future": 1}]},
        "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    }
    view: Pod = from_tree(Pod, tree)
    assert view.key == "shop/web"
    assert view.spec.containers[0].ports[0].protocol == "TCP"
    assert view.status.pod_ips[0].ip == view.status.pod_ip == "10.0.0.1"
    assert to_tree(view)["apiVersion"] == "v1"


def _required(kind: inspect.Type, seen: set[type]) -> Iterator[str]:
    """Fields without a default, of a type and of all it is made of."""
    if isinstance(kind, inspect.StructType) and kind.cls not in seen:
        seen.add(kind.cls)
        for field in kind.fields:
            if field.required:
                yield f"{kind.cls.__name__}.{field.name}"
            yield from _required(field.type, seen)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _required(one, seen)
    for part in ("item_type", "value_type"):
        if hasattr(kind, part):
            yield from _required(getattr(kind, part), seen)


def test_a_status_may_lack_anything() -> None:
    """It is written through a subresource that few kinds have rules about, and a view that cannot be made of it would
    blind whoever watches the kind."""
    lacking = {
        f"{name}: {field}"
        for name, view in _views().items()
        if issubclass(view, Object)
        for part in inspect.type_info(view).fields  # type: ignore[attr-defined]
        if part.name == "status"
        for field in _required(part.type, set())
    }
    assert not lacking
    assert from_tree(Pod, {"status": {"conditions": [{"message": "a"}]}}).status.conditions[0].type == ""
