"""One list from what each node remembers. Pure.

A flow between two nodes is seen on both, and each may know only its own pods. An address that a node could not name is
looked up among the pods there are, if that pod was there before the flow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from pilothouse.kinds.workload_labels import workload_labels
from pilothouse.machinery.objects import Obj

GROUP, VERSION = "network.pilothouse.dev", "v1alpha1"


def addresses(pods: Iterable[Obj]) -> dict[str, Obj]:
    """Pods by address; of two that name one, the younger. Those in their host's network are none."""
    found: dict[str, Obj] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        status = pod.get("status") or {}
        ended = status.get("phase") in ("Succeeded", "Failed")
        if status.get("podIP") and not ended and not (pod.get("spec") or {}).get("hostNetwork"):
            found[status["podIP"]] = pod
    return found


def merged(kind: str, records: Mapping[str, Obj], pods: Mapping[str, Obj], namespace: str) -> list[Obj]:
    """The flows (`kind` "flows") or denials ("denied") that touch a namespace ("": all), the latest first."""
    found: dict[str, Obj] = {}
    for node, record in sorted(records.items()):
        for item in record.get(kind) or ():
            flow = _named(dict(item), pods)
            if namespace and namespace not in (flow["from"].get("namespace"), flow["to"].get("namespace")):
                continue
            key = repr((flow.get("direction"), _text(flow["from"]), _text(flow["to"]), flow["protocol"], flow["port"]))
            known = found.get(key)
            found[key] = {**flow, "nodes": [node]} if known is None else _joined(known, flow, node)
    return sorted(found.values(), key=lambda flow: (-flow["last"], flow["source"], flow["destination"], flow["port"]))


def items(kind: str, flows: Iterable[Obj]) -> list[Obj]:
    """The flows as items of the API: times in the API's form."""
    word = "Flow" if kind == "flows" else "DeniedFlow"
    head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": word}
    return [{**head, **flow, "first": _time(flow["first"]), "last": _time(flow["last"])} for flow in flows]


def counts(records: Mapping[str, Obj], namespace: str) -> dict[str, int]:
    """How many denied packets were told for each policy."""
    total: dict[str, int] = {}
    for record in records.values():
        for policy, count in (record.get("policies") or {}).items():
            if not namespace or policy.startswith(f"{namespace}/"):
                total[policy] = total.get(policy, 0) + count
    return dict(sorted(total.items()))


def _named(flow: Obj, pods: Mapping[str, Obj]) -> Obj:
    for end, name in (("from", "source"), ("to", "destination")):
        pod = pods.get(flow[end].get("address", ""))
        if pod is None or _seconds(pod["metadata"].get("creationTimestamp")) > flow["first"] + 1:
            continue
        meta = pod["metadata"]
        flow[end] = {"namespace": meta["namespace"], "labels": workload_labels(meta.get("labels"))}
        flow[name] = f"{meta['namespace']}/{meta['name']}"
    return flow


def _joined(known: Obj, flow: Obj, node: str) -> Obj:
    latest = flow if flow["last"] > known["last"] else known
    joined = {
        **latest,
        "first": min(known["first"], flow["first"]),
        "count": max(known["count"], flow["count"]),
        "nodes": [*known["nodes"], node] if node not in known["nodes"] else known["nodes"],
    }
    policies = dict.fromkeys([*known.get("policies", ()), *flow.get("policies", ())])
    return {**joined, "policies": list(policies)} if policies else joined


def _text(end: Obj) -> str:
    return repr((end.get("namespace"), sorted((end.get("labels") or {}).items()), end.get("address")))


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: Any) -> float:
    try:
        return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
