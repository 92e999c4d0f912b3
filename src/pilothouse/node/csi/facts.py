"""What a node tells of its drivers: in its CSINode, and by an annotation and labels of its Node. Pure.

Source: `nodeinfomanager` of Kubernetes' kubelet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.storage.csi_node import CSINode, CSINodeDriver
from pilothouse.machinery.objects import Obj

NODE_ID = "csi.volume.kubernetes.io/nodeid"
"""Annotation of a Node: what each driver calls it, as JSON."""
_MOST = 2**31 - 1


class TopologyConflict(ValueError):
    """A driver and a label of the node disagree about where it stands."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a driver said of the node: its id, how many volumes it takes (0 for any number), and where it stands."""

    node_id: str
    most_volumes: int = 0
    topology: Mapping[str, str] = field(default_factory=dict)


def check_topology(node: Node, topology: Mapping[str, str]) -> None:
    """Raises TopologyConflict."""
    for key, value in topology.items():
        known = node.metadata.labels.get(key, value)
        if known != value:
            raise TopologyConflict(
                f"detected topology value collision: driver reported {key!r}:{value!r} but existing label is "
                f"{key!r}:{known!r}"
            )


def node_change(node: Node, drivers: Mapping[str, Facts], *, keep_others: bool) -> Obj | None:
    """The patch of the Node that tells of the drivers, None if it tells already.

    `keep_others` leaves what an earlier process told of drivers that have yet to register with this one.
    """
    known = _known_ids(node)
    ids = {**(known if keep_others else {}), **{name: facts.node_id for name, facts in drivers.items()}}
    labels = {
        key: value
        for facts in drivers.values()
        for key, value in facts.topology.items()
        if node.metadata.labels.get(key) != value
    }
    metadata: Obj = {}
    if ids != known:
        metadata["annotations"] = {NODE_ID: json.dumps(ids, sort_keys=True, separators=(",", ":")) if ids else None}
    if labels:
        metadata["labels"] = labels
    return {"metadata": metadata} if metadata else None


def _known_ids(node: Node) -> dict[str, str]:
    try:
        found = json.loads(node.metadata.annotations.get(NODE_ID, "{}"))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def csi_node_drivers(known: CSINode | None, drivers: Mapping[str, Facts], *, keep_others: bool) -> list[list[Obj]]:
    """The lists of drivers to write into the CSINode, one after the other; none if it tells already.

    An entry may not change but go and come: one whose id or topology is another is left out first.
    """
    before = [_entry_of(driver) for driver in known.spec.drivers] if known is not None else None
    wanted = {name: _entry(name, facts) for name, facts in drivers.items()}
    others = [entry for entry in before or () if keep_others and entry["name"] not in wanted]
    after = sorted([*others, *wanted.values()], key=lambda entry: str(entry["name"]))
    if before is not None and sorted(before, key=lambda entry: str(entry["name"])) == after:
        return []
    steps = [after]
    fresh = {entry["name"]: _identity(entry) for entry in after}
    lasting = [entry for entry in before or () if fresh.get(entry["name"], _identity(entry)) == _identity(entry)]
    if len(lasting) != len(before or ()):
        steps.insert(0, lasting)
    return steps


def _identity(entry: Obj) -> Obj:
    return {key: value for key, value in entry.items() if key != "allocatable"}


def _entry(name: str, facts: Facts) -> Obj:
    entry: Obj = {"name": name, "nodeID": facts.node_id, "topologyKeys": sorted(facts.topology)}
    if facts.most_volumes > 0:
        entry["allocatable"] = {"count": min(facts.most_volumes, _MOST)}
    return entry


def _entry_of(driver: CSINodeDriver) -> Obj:
    count = driver.allocatable.count if driver.allocatable is not None else None
    entry: Obj = {"name": driver.name, "nodeID": driver.node_id, "topologyKeys": driver.topology_keys}
    if count is not None:
        entry["allocatable"] = {"count": count}
    return entry
