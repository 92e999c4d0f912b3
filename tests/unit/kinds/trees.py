"""Objects that tests of the kinds start from, and small ways to change and judge them."""

from __future__ import annotations

import copy
from typing import Any

from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj

REMOVED = object()


def pod(**spec: Any) -> Obj:
    """A pod of one container, `spec` on top."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": "registry.test/app:1"}], **spec},
    }


def container(**fields: Any) -> Obj:
    """A container, `fields` on top."""
    return {"name": "app", "image": "registry.test/app:1", **fields}


def deployment(**spec: Any) -> Obj:
    """A valid deployment, `spec` on top."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container()]}},
            **spec,
        },
    }


def service(**spec: Any) -> Obj:
    """A valid service, `spec` on top."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def claim(**spec: Any) -> Obj:
    """A valid claim, `spec` on top."""
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": "data", "namespace": "shop"}, "spec": {**asked, **spec}}


def changed(tree: Obj, path: str, value: Any) -> Obj:
    """A copy of the tree with `value` at a path such as `spec.containers.0.image`; REMOVED takes the field away."""
    result = copy.deepcopy(tree)
    *parents, last = path.split(".")
    node: Any = result
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    if value is REMOVED:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return result


def defaulted(kind: Kind, tree: Obj) -> Obj:
    """A defaulted copy."""
    result = copy.deepcopy(tree)
    kind.default(result)
    return result


def faults(kind: Kind, tree: Obj, old: Obj | None = None) -> list[str]:
    """What is wrong with the tree once it has its defaults: `field: message`, as a client reads it."""
    before = None if old is None else defaulted(kind, old)
    return [f"{cause.field}: {cause.message}" for cause in kind.validate(defaulted(kind, tree), before)]
