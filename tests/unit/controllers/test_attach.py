"""Which volumes are attached to a node, and when they are detached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from pilothouse.controllers.attach.decide import FORCE_SECONDS, Plan, World, decide
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.reconcile.csi import attachment_name, unique_name

DRIVER = "disk.example.com"
IN_USE = unique_name(DRIVER, "vol")


def pod(phase: str = "Running") -> Pod:
    tree = {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"nodeName": "n1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": phase},
    }
    return msgspec.convert(tree, Pod)


def node(*, ready: str = "True", in_use: tuple[str, ...] = (), taint: str = "") -> Node:
    tree = {
        "metadata": {"name": "n1"},
        "spec": {"taints": [{"key": taint, "effect": "NoExecute"}] if taint else []},
        "status": {"conditions": [{"type": "Ready", "status": ready}], "volumesInUse": list(in_use)},
    }
    return msgspec.convert(tree, Node)


def attachment(node: str = "n1", **metadata: Any) -> VolumeAttachment:
    tree = {
        "metadata": {"name": attachment_name("vol", DRIVER, node), **metadata},
        "spec": {"attacher": DRIVER, "nodeName": node, "source": {"persistentVolumeName": "pv"}},
    }
    return msgspec.convert(tree, VolumeAttachment)


def world(*attachments: VolumeAttachment, modes: tuple[str, ...] = ("ReadWriteOnce",), attach: bool = True) -> World:
    volume = {
        "metadata": {"name": "pv"},
        "spec": {"accessModes": list(modes), "csi": {"driver": DRIVER, "volumeHandle": "vol"}},
    }
    claim = {
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"volumeName": "pv"},
        "status": {"phase": "Bound"},
    }
    driver = {"metadata": {"name": DRIVER}, "spec": {"attachRequired": attach}}
    return World(
        {"shop/data": msgspec.convert(claim, PersistentVolumeClaim)}.get,
        {"pv": msgspec.convert(volume, PersistentVolume)}.get,
        {DRIVER: msgspec.convert(driver, CSIDriver)}.get,
        [made for made in attachments if made.spec.node_name == "n1"],
        lambda name: any(made.spec.node_name != "n1" for made in attachments),
    )


def plan(around: World, *pods: Pod, on: Node | None, waited: Mapping[str, float] | None = None) -> Plan:
    return decide("n1", on, pods, around, waited or {})


def test_a_pods_volume_is_attached_once() -> None:
    name = attachment_name("vol", DRIVER, "n1")
    assert plan(world(), pod(), on=node()).create == {
        name: {
            "metadata": {"name": name},
            "spec": {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}},
        }
    }
    assert plan(world(attachment()), pod(), on=node()).create == {}
    assert plan(world(attach=False), pod(), on=node()).create == {}


def test_what_one_node_has_another_waits_for() -> None:
    blocked = plan(world(attachment("n2")), pod(), on=node())
    assert (blocked.create, blocked.blocked) == ({}, ["pv"])
    assert plan(world(attachment("n2"), modes=("ReadWriteMany",)), pod(), on=node()).blocked == []


@pytest.mark.parametrize(
    ("on", "waited", "goes"),
    [
        (node(), 0.0, True),
        (node(in_use=(IN_USE,)), 0.0, False),
        (node(in_use=(IN_USE,)), FORCE_SECONDS, False),
        (node(ready="Unknown", in_use=(IN_USE,)), 0.0, False),
        (node(ready="Unknown", in_use=(IN_USE,)), FORCE_SECONDS, True),
        (node(in_use=(IN_USE,), taint="node.kubernetes.io/out-of-service"), 0.0, True),
        (None, 0.0, True),
    ],
    ids=["free", "in use", "in use for long", "silent", "silent for long", "out of service", "gone"],
)
def test_a_volume_that_no_pod_needs_goes_when_the_node_lets_it(on: Node | None, waited: float, goes: bool) -> None:
    made = attachment()
    found = plan(world(made), pod("Succeeded"), on=on, waited={made.name: waited})
    assert (found.delete, found.kept) == (([made.name], []) if goes else ([], [made.name]))


def test_what_others_made_or_is_going_is_left_alone() -> None:
    theirs = attachment()
    theirs.metadata.name = "by-hand"
    going = attachment(deletionTimestamp="2026-03-01T10:00:00Z")
    assert plan(world(theirs, going), on=node()) == Plan()
