"""From a node's summary to NodeMetrics and PodMetrics. Pure.

Source: the kubelet's summary API (`stats/v1alpha1`) and `metrics.k8s.io/v1beta1`.
"""

from __future__ import annotations

from typing import Any

from pilothouse.machinery.objects import Obj, Resource, timestamp

NODES = Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False)
PODS = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True)
_WINDOW = "10s"


def node_metrics(node: Obj, summary: Obj) -> Obj | None:
    """What a node uses; None while its summary holds no measurement."""
    measured = summary.get("node") or {}
    usage = _usage(measured)
    if usage is None:
        return None
    return {
        **_head(NODES, {"name": node["metadata"]["name"], **_labels(node)}, measured),
        "usage": usage,
    }


def pod_metrics(pod: Obj, summary: Obj) -> Obj | None:
    """What each container of a pod uses; None while the summary holds no measurement of the pod."""
    meta = pod["metadata"]
    measured = next(
        (entry for entry in summary.get("pods") or () if (entry.get("podRef") or {}).get("uid") == meta["uid"]), None
    )
    if measured is None:
        return None
    containers = [
        {"name": entry.get("name", ""), "usage": usage}
        for entry in measured.get("containers") or ()
        if (usage := _usage(entry)) is not None
    ]
    if not containers:
        return None
    identity = {"name": meta["name"], "namespace": meta["namespace"], **_labels(pod)}
    return {**_head(PODS, identity, measured), "containers": containers}


def _head(resource: Resource, identity: Obj, measured: Obj) -> Obj:
    time = (measured.get("cpu") or {}).get("time") or timestamp()
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {**identity, "creationTimestamp": time},
        "timestamp": time,
        "window": _WINDOW,
    }


def _labels(obj: Obj) -> Obj:
    labels = obj["metadata"].get("labels")
    return {"labels": labels} if labels else {}


def _usage(measured: Obj) -> dict[str, str] | None:
    cpu: Any = (measured.get("cpu") or {}).get("usageNanoCores")
    memory: Any = (measured.get("memory") or {}).get("workingSetBytes")
    if cpu is None or memory is None:
        return None
    return {"cpu": f"{int(cpu)}n", "memory": f"{int(memory) // 1024}Ki"}
