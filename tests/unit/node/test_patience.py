"""When a node looks again, and which volumes are its own."""

from __future__ import annotations

import pytest

from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.view import from_tree
from pilothouse.node.registration import HEARTBEAT, pause
from pilothouse.node.volumes.reclaim import is_on


@pytest.mark.parametrize(
    ("looks", "failures", "hasty"),
    [(0, 0, False), (1, 0, True), (0, 1, True), (49, 0, True), (50, 0, False), (0, 50, False), (5000, 5000, False)],
)
def test_a_server_that_stays_away_is_not_hammered(looks: int, failures: int, hasty: bool) -> None:
    assert (pause(looks, failures) < HEARTBEAT) == hasty


def volume(*nodes: str) -> PersistentVolume:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}} if nodes else None
    made: PersistentVolume = from_tree(PersistentVolume, {"spec": {"nodeAffinity": affinity}})
    return made


def test_a_volume_is_reclaimed_by_its_own_node_only() -> None:
    assert is_on(volume("one"), "one")
    assert not is_on(volume("two"), "one")
    assert not is_on(volume(), "one")
