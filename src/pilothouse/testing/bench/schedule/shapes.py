"""The pods that are placed, and the nodes that they are placed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pilothouse.launch.simulation.nodes import VirtualNode, made_of
from pilothouse.launch.simulation.setting import NodeType
from pilothouse.machinery.objects import Obj

_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
_ZONES = ["a", "b", "c", "d", "e"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of pod. `share` is its part of the pods asked for; `least` the pods/s through the API at 5,000 nodes to be
    above, upstream's published floor (scheduler_perf) where it has one."""

    name: str
    app: str
    spec: Obj
    share: float
    least: float | None = None

    def count(self, pods: int, nodes: int) -> int:
        """How many of them are placed. Of those that bear no other of their kind, a node takes one."""
        wanted = int(pods * self.share)
        return min(wanted, nodes) if self.app == _ANTI else wanted

    def tree(self, number: int, *, prefix: str = "") -> Obj:
        """A pod of this kind; `prefix` tells apart pods of several runs."""
        app = prefix + self.app
        return {
            "metadata": {"name": f"{app}-{number}", "namespace": "default", "labels": {"app": app}},
            "spec": self.spec,
        }


def spec(**more: Any) -> Obj:
    container = {
        "name": "c",
        "image": "registry.example/c:1",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {"containers": [container], **more}


def _term(key: str, app: str) -> Obj:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


def _in_zones(*names: str) -> Obj:
    terms = [{"matchExpressions": [{"key": _ZONE, "operator": "In", "values": list(names)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _alone_on_its_node(app: str) -> Obj:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term(_HOST, app)]}}


def _over_zones(app: str) -> list[Obj]:
    return [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **_term(_ZONE, app)}]


_ANTI = "anti"
PLAIN = Shape("plain", "plain", spec(), 1.0, 810.0)
SHAPES = (
    PLAIN,
    Shape("node affinity", "near", spec(affinity=_in_zones("a", "b")), 0.5, 220.0),
    Shape("required anti-affinity", _ANTI, spec(affinity=_alone_on_its_node(_ANTI)), 0.2, 60.0),
    Shape("zone spread", "spread", spec(topologySpreadConstraints=_over_zones("spread")), 0.3),
)


def made(nodes: int) -> list[VirtualNode]:
    """So many nodes over five zones, with room for all."""
    return made_of([NodeType("n", nodes, "32", "256Gi", pods=1000, zones=_ZONES)])
