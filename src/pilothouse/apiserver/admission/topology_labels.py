"""A pod that has a node bears the node's zone and region as labels, for its containers to read by the downward API.

Source: upstream's admission plugin PodTopologyLabels (KEP-4742, on by default in 1.35).
"""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    """Acts when a pod is bound, or created with its node named."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or pod is None:
            return
        if (request.operation, request.subresource) not in (("CREATE", ""), ("UPDATE", "binding")):
            return
        name = (pod.get("spec") or {}).get("nodeName")
        node = self._objects.get(Node.resource, "", name) if name else None
        of_node = ((node or {}).get("metadata") or {}).get("labels") or {}
        wanted = {key: of_node[key] for key in LABELS if key in of_node}
        if wanted:
            meta = pod.setdefault("metadata", {})
            meta["labels"] = {**(meta.get("labels") or {}), **wanted}
