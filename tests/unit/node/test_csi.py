"""What drivers are asked for, and what the node tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.node.csi.facts import NODE_ID, Facts, TopologyConflict, check_topology, csi_node_drivers, node_change
from pilothouse.node.csi.paths import CsiLayout, Record, forget, keep
from pilothouse.node.csi.plan import (
    SETS_GROUP,
    TELLS_WRITERS_APART,
    capability,
    check_mode,
    gives_group,
    must_attach,
    of_persistent,
)
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.wire import csi_pb2 as wire

NAME = "disk.example.com"
Mode = wire.VolumeCapability.AccessMode


def volume(*modes: str, **source: Any) -> PersistentVolume:
    spec = {"accessModes": modes or ("ReadWriteOnce",), "csi": {"driver": NAME, "volumeHandle": "vol", **source}}
    return msgspec.convert({"metadata": {"name": "pv"}, "spec": spec}, PersistentVolume)


def driver(**spec: Any) -> CSIDriver:
    return msgspec.convert({"metadata": {"name": NAME}, "spec": spec}, CSIDriver)


def node(ids: str = "", **labels: str) -> Node:
    annotations = {NODE_ID: ids} if ids else {}
    return msgspec.convert({"metadata": {"name": "n1", "labels": labels, "annotations": annotations}}, Node)


@pytest.mark.parametrize(
    ("modes", "plain", "apart"),
    [
        (("ReadWriteOnce",), Mode.SINGLE_NODE_WRITER, Mode.SINGLE_NODE_MULTI_WRITER),
        (("ReadWriteOncePod",), Mode.SINGLE_NODE_WRITER, Mode.SINGLE_NODE_SINGLE_WRITER),
        (("ReadOnlyMany",), Mode.MULTI_NODE_READER_ONLY, Mode.MULTI_NODE_READER_ONLY),
        (("ReadWriteMany", "ReadWriteOnce"), Mode.MULTI_NODE_MULTI_WRITER, Mode.MULTI_NODE_MULTI_WRITER),
    ],
)
def test_access_modes(modes: tuple[str, ...], plain: int, apart: int) -> None:
    wanted = of_persistent(volume(*modes), "n1", read_only=False)
    assert capability(wanted, frozenset(), None).access_mode.mode == plain
    assert capability(wanted, frozenset({TELLS_WRITERS_APART}), None).access_mode.mode == apart


@pytest.mark.parametrize(
    ("policy", "fs_type", "modes", "abilities", "read_only", "expected"),
    [
        ("File", "", ("ReadWriteMany",), (), False, True),
        ("None", "ext4", ("ReadWriteOnce",), (), False, False),
        ("ReadWriteOnceWithFSType", "ext4", ("ReadWriteOnce",), (), False, True),
        ("ReadWriteOnceWithFSType", "", ("ReadWriteOnce",), (), False, False),
        ("ReadWriteOnceWithFSType", "ext4", ("ReadWriteMany",), (), False, False),
        ("File", "", ("ReadWriteOnce",), (SETS_GROUP,), False, False),
        ("File", "", ("ReadWriteOnce",), (), True, False),
    ],
)
def test_who_gives_files_to_the_group(
    policy: str, fs_type: str, modes: tuple[str, ...], abilities: tuple[int, ...], read_only: bool, expected: bool
) -> None:
    wanted = of_persistent(volume(*modes, fsType=fs_type), "n1", read_only=read_only)
    assert gives_group(wanted, driver(fsGroupPolicy=policy), frozenset(abilities), 4321) is expected
    assert gives_group(wanted, driver(fsGroupPolicy=policy), frozenset(abilities), None) is False


def test_lives_and_attaching() -> None:
    wanted = of_persistent(volume(), "n1", read_only=False)
    check_mode(wanted, None)
    with pytest.raises(VolumeError, match='volume mode "Persistent" not supported by driver'):
        check_mode(wanted, driver(volumeLifecycleModes=["Ephemeral"]))
    # A driver that nobody described is taken to need attaching.
    assert must_attach(wanted, None)
    assert not must_attach(wanted, driver(attachRequired=False))


def test_what_the_node_tells() -> None:
    here = {NAME: Facts("i-1", 0, {"zone": "a"})}
    assert node_change(node(), here, keep_others=True) == {
        "metadata": {"annotations": {NODE_ID: f'{{"{NAME}":"i-1"}}'}, "labels": {"zone": "a"}}
    }
    assert node_change(node(f'{{"{NAME}":"i-1"}}', zone="a"), here, keep_others=True) is None
    # Only once every socket was looked at, what no driver stands for any more goes.
    both = node('{"old":"x"}', zone="a")
    assert node_change(both, here, keep_others=True) == {
        "metadata": {"annotations": {NODE_ID: f'{{"{NAME}":"i-1","old":"x"}}'}}
    }
    assert node_change(both, {}, keep_others=False) == {"metadata": {"annotations": {NODE_ID: None}}}
    with pytest.raises(TopologyConflict, match="driver reported 'zone':'a' but existing label is 'zone':'b'"):
        check_topology(node(zone="b"), {"zone": "a"})


def test_an_entry_of_another_identity_goes_before_it_comes() -> None:
    tree = {"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": NAME, "nodeID": "i-1", "topologyKeys": []}]}}
    known = msgspec.convert(tree, CSINode)
    same = {"name": NAME, "nodeID": "i-1", "topologyKeys": []}
    assert csi_node_drivers(None, {NAME: Facts("i-1")}, keep_others=False) == [[same]]
    assert csi_node_drivers(known, {NAME: Facts("i-1")}, keep_others=False) == []
    assert csi_node_drivers(known, {NAME: Facts("i-1", 5)}, keep_others=False) == [
        [{**same, "allocatable": {"count": 5}}]
    ]
    assert csi_node_drivers(known, {NAME: Facts("i-2")}, keep_others=False) == [[], [{**same, "nodeID": "i-2"}]]
    assert csi_node_drivers(known, {}, keep_others=True) == []
    assert csi_node_drivers(known, {}, keep_others=False) == [[]]


@pytest.mark.parametrize("block", [False, True])
def test_records_are_found_again_and_forgotten(tmp_path: Path, block: bool) -> None:
    layout = CsiLayout(tmp_path)
    record = Record(driver=NAME, handle="vol", name="pv", node="n1", mode="Persistent", block=block)
    keep(layout.staged_data(record), record)
    assert not layout.users(record)
    keep(layout.target_data("uid", record), record)
    assert layout.staged() == [record] == layout.published("uid")
    assert layout.users(record)
    forget(layout.target("uid", record), layout.target_data("uid", record))
    layout.forget_pod("uid")
    forget(layout.staging(record), layout.staged_data(record))
    assert layout.staged() == []
    assert layout.pods() == []


def test_records_of_another_kubelet_are_left_alone(tmp_path: Path) -> None:
    layout = CsiLayout(tmp_path)
    record = Record(driver=NAME, handle="vol", name="pv")
    data = layout.target_data("uid", record)
    data.parent.mkdir(parents=True)
    data.write_text(f'{{"driverName": "{NAME}", "volumeHandle": "vol", "specVolID": "pv"}}')
    assert layout.published("uid") == []
    layout.forget_all()
    assert data.exists()
