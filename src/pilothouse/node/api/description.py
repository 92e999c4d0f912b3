"""GET /pods, /runningpods and /configz: what this node runs, and how it is configured, in upstream's words."""

from __future__ import annotations

import msgspec

from pilothouse.kinds.view import api_name, to_tree
from pilothouse.machinery.objects import Obj
from pilothouse.node.api.lookup import PodLookup
from pilothouse.node.settings import Settings

_SECONDS = frozenset(
    {
        "eviction_pressure_transition_period",
        "image_minimum_gc_age",
        "shutdown_grace_period",
        "shutdown_grace_period_critical_pods",
    }
)


def pods(lookup: PodLookup, *, running: bool) -> Obj:
    """A list of the pods bound to this node, with the fields that it reads of them; or of those that run."""
    chosen = [state for state in lookup if state.pod is not None and (not running or state.any_running)]
    items = [to_tree(state.pod) for state in chosen if state.pod is not None]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def configuration(settings: Settings, *, address: str, port: int, domain: str) -> Obj:
    """The settings as a KubeletConfiguration; those upstream does not know are left out."""
    tree: Obj = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": address,
        "port": port,
        "clusterDomain": domain,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
    }
    for name, value in msgspec.structs.asdict(settings).items():
        if name.startswith("kept_logs"):
            continue
        if name == "pod_pids_limit":
            tree["podPidsLimit"] = value
        elif name == "image_minimum_gc_age":
            tree["imageMinimumGCAge"] = f"{value:g}s"
        elif name.startswith("image_gc_"):
            tree[api_name(name).replace("Gc", "GC")] = value
        else:
            tree[api_name(name)] = _shown(name, value)
    return {"kubeletconfig": tree}


def _shown(name: str, value: object) -> object:
    if name in _SECONDS:
        return f"{value:g}s"
    if name == "eviction_soft_grace_period" and isinstance(value, dict):
        return {signal: f"{seconds:g}s" for signal, seconds in value.items()}
    return value
