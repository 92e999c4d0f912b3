"""Types of `metrics.k8s.io/v1beta1`, which the packaged schemas lack."""

from __future__ import annotations

from typing import Final

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import QUANTITY

_PREFIX: Final = "io.k8s.metrics.pkg.apis.metrics.v1beta1."
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."


def _ref(name: str, description: str) -> Obj:
    return {"$ref": f"#/$defs/{name}", "description": description}


def _usage(whose: str) -> Obj:
    return {
        "description": f"The memory usage of the {whose} is the memory working set.",
        "type": "object",
        "additionalProperties": {"$ref": f"#/$defs/{QUANTITY}"},
    }


_TYPE_META: Final[Obj] = {
    "apiVersion": {"description": "The versioned schema of this representation of an object.", "type": "string"},
    "kind": {"description": "The REST resource this object represents.", "type": "string"},
}
_MEASURED: Final[Obj] = {
    **_TYPE_META,
    "metadata": _ref(_META + "ObjectMeta", "Standard object's metadata."),
    "timestamp": _ref(_META + "Time", "The end of the time interval from which metrics were collected."),
    "window": {"description": "The length of that interval, such as 15s.", "type": "string"},
}


def _kind(name: str, description: str, properties: Obj) -> Obj:
    return {
        "description": description,
        "type": "object",
        "required": ["timestamp", "window", *(name for name in properties if name not in _MEASURED)],
        "properties": {**_MEASURED, **properties},
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "version": "v1beta1", "kind": name}],
    }


def _list(name: str) -> Obj:
    return {
        "description": f"{name}List is a list of {name}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_TYPE_META,
            "metadata": _ref(_META + "ListMeta", "Standard list metadata."),
            "items": {
                "description": "The measurements.",
                "type": "array",
                "items": {"$ref": f"#/$defs/{_PREFIX}{name}"},
            },
        },
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "version": "v1beta1", "kind": f"{name}List"}],
    }


METRICS_DEFINITIONS: Final[dict[str, Obj]] = {
    f"{_PREFIX}NodeMetrics": _kind(
        "NodeMetrics", "NodeMetrics sets resource usage metrics of a node.", {"usage": _usage("node")}
    ),
    f"{_PREFIX}NodeMetricsList": _list("NodeMetrics"),
    f"{_PREFIX}PodMetrics": _kind(
        "PodMetrics",
        "PodMetrics sets resource usage metrics of a pod.",
        {
            "containers": {
                "description": "Metrics of all containers, collected within the same time window.",
                "type": "array",
                "items": {"$ref": f"#/$defs/{_PREFIX}ContainerMetrics"},
            }
        },
    ),
    f"{_PREFIX}PodMetricsList": _list("PodMetrics"),
    f"{_PREFIX}ContainerMetrics": {
        "description": "ContainerMetrics sets resource usage metrics of a container.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {
            "name": {"description": "Name of the container.", "type": "string"},
            "usage": _usage("container"),
        },
    },
}
"""By name, written as the packaged schemas are."""
