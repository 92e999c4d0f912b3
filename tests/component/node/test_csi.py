"""Volumes of a CSI driver, over its real socket: it registers, is asked in the right order, nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from csi_world import STAGES, CsiLab, DriverProcess
from node_world import until

from pilothouse.client.wire import User
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.linux.mounts import unmount_below
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.node.config import WORKERS
from pilothouse.node.csi import patience
from pilothouse.node.volumes import mounter, unfinished
from pilothouse.reconcile.csi import attachment_name
from pilothouse.testing.control_plane import ControlPlane, allow_all
from pilothouse.testing.csi_driver import NAME

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
HANDLE_1 = hashlib.sha256(b"vol-1").hexdigest()
NODE_ID = "csi.volume.kubernetes.io/nodeid"


class Issuer:
    """Gives everybody a token."""

    async def issue(self, service_account: Obj, token_request: Obj, user: User) -> Obj:
        (audience,) = token_request["spec"]["audiences"]
        end = timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
        return {**token_request, "status": {"token": f"for-{audience}", "expirationTimestamp": end}}


@pytest.fixture
async def lab() -> AsyncIterator[CsiLab]:
    # The path of a socket may not be long.
    root = Path(tempfile.mkdtemp(prefix="ph-csi-"))
    (root / "cgroup").mkdir()
    async with ControlPlane(chain=replace(allow_all(), token_issuer=Issuer())) as plane:
        made = CsiLab(root, plane)
        await made.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        made.driver = DriverProcess(made.kubelet, root / "store")
        made.start()
        yield made
        await made.driver.stop()
        await made.stop()
        unmount_below(root)
        shutil.rmtree(root)


async def test_a_driver_is_told_while_it_is_there(lab: CsiLab) -> None:
    await lab.driver.start(most=3, zone="z1")
    await lab.registered(there=True)
    told = (await lab.client.get(CSINode, "n1")).spec.drivers
    node = await lab.client.get(Node, "n1")
    assert [(d.name, d.node_id, d.topology_keys, d.allocatable and d.allocatable.count) for d in told] == [
        (NAME, "i-1", [f"{NAME}/zone"], 3)
    ]
    assert orjson.loads(node.metadata.annotations[NODE_ID]) == {NAME: "i-1"}
    assert node.metadata.labels[f"{NAME}/zone"] == "z1"
    # A node that is started anew finds it by its socket; one that has another id by then is told anew.
    await lab.stop()
    await lab.driver.stop()
    await lab.driver.start(node_id="i-2", zone="z1")
    lab.start()

    async def renamed() -> bool:
        return [d.node_id for d in (await lab.client.get(CSINode, "n1")).spec.drivers] == ["i-2"]

    await until(renamed)
    # With its socket it goes.
    await lab.driver.stop()
    await lab.registered()

    async def forgotten() -> bool:
        return NODE_ID not in (await lab.client.get(Node, "n1")).metadata.annotations

    await until(forgotten)


async def test_what_an_earlier_process_told_of_a_driver_that_is_gone_is_taken_back(lab: CsiLab) -> None:
    await lab.driver.start()
    await lab.registered(there=True)
    await lab.stop()
    await lab.driver.stop()
    lab.start()
    await lab.registered()


async def test_pods_share_what_is_staged_once_and_nothing_stays(lab: CsiLab) -> None:
    await lab.driver.start(STAGES)
    await lab.describe(podInfoOnMount=True)
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1", fsType="ext4", volumeAttributes={"size": "small"})
    one = await lab.claiming("one", "pv1")
    await lab.runs("one")
    await lab.claiming("two", "pv1", read_only=True)
    await lab.runs("one", "two")
    stage, first, second = lab.driver.calls("NodeStageVolume", "NodePublishVolume")
    staging = str(lab.kubelet / "plugins/kubernetes.io/csi" / NAME / HANDLE_1 / "globalmount")
    use = {"mount": {"fsType": "ext4"}, "accessMode": {"mode": "SINGLE_NODE_WRITER"}}
    assert stage == {
        "method": "NodeStageVolume",
        "volumeId": "vol-1",
        "stagingTargetPath": staging,
        "volumeCapability": use,
        "volumeContext": {"size": "small"},
    }
    target = lab.kubelet / "pods" / one.metadata.uid / "volumes/kubernetes.io~csi/pv1/mount"
    assert first == {
        "method": "NodePublishVolume",
        "volumeId": "vol-1",
        "stagingTargetPath": staging,
        "targetPath": str(target),
        "volumeCapability": use,
        "volumeContext": {
            "size": "small",
            "csi.storage.k8s.io/pod.name": "one",
            "csi.storage.k8s.io/pod.namespace": "default",
            "csi.storage.k8s.io/pod.uid": one.metadata.uid,
            "csi.storage.k8s.io/serviceAccount.name": one.spec.service_account_name,
            "csi.storage.k8s.io/ephemeral": "false",
        },
    }
    assert second["readonly"] is True
    assert (str(target), "/data", False) in {
        (mount.host_path, mount.container_path, mount.readonly)
        for container in lab.runtime.containers.values()
        for mount in container.config.mounts
    }
    (target / "written").touch()
    assert (lab.root / "store/volumes/vol-1/written").exists()
    await lab.end("one")
    assert lab.driver.names() == ["Stage", "Publish", "Publish", "Unpublish"]
    await lab.end("two")
    await lab.asked("Stage", "Publish", "Publish", "Unpublish", "Unpublish", "Unstage")
    await lab.clean()


async def test_a_driver_that_is_not_there_is_named_and_waited_for(lab: CsiLab) -> None:
    await lab.describe()
    await lab.volume("pv1", "vol-1")
    await lab.claiming("one", "pv1")
    await lab.said(
        "FailedMount",
        f"driver name {NAME} not found in the list of registered CSI drivers of this node (there are: none)",
    )
    await lab.driver.start()
    await lab.runs("one")
    assert lab.driver.names() == ["Publish"]


async def test_what_a_driver_answers_is_told_and_tried_again(lab: CsiLab) -> None:
    await lab.driver.start(STAGES)
    await lab.describe()
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    failure = lab.root / "store/fail-NodePublishVolume"
    failure.write_text("INVALID_ARGUMENT no such size")
    await lab.claiming("one", "pv1")
    await lab.said(
        "FailedMount",
        f"driver {NAME}, NodePublishVolume: rpc error: code = InvalidArgument desc = no such size",
    )
    failure.unlink()
    await lab.runs("one")
    # A driver that cannot unmount keeps the pod, and is asked again.
    failure = lab.root / "store/fail-NodeUnpublishVolume"
    failure.write_text("INTERNAL busy")
    ending = asyncio.create_task(lab.end("one"))
    await lab.said("FailedKillPod", "NodeUnpublishVolume: rpc error: code = Internal desc = busy")
    failure.unlink()
    await ending
    await lab.clean()


@pytest.mark.parametrize("at", ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"])
async def test_a_node_that_ends_during_a_call_leaves_nothing_for_ever(lab: CsiLab, at: str) -> None:
    await lab.driver.start(STAGES)
    await lab.describe()
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    hold = lab.root / f"store/hold-{at}"
    if at in ("NodeStageVolume", "NodePublishVolume"):
        hold.touch()
    await lab.claiming("one", "pv1")
    if not hold.exists():
        await lab.runs("one")
        hold.touch()
        await lab.client.delete(Pod, "one", "default")

    async def asked() -> bool:
        return bool(lab.driver.calls(at))

    await until(asked)
    await lab.stop()
    # The call is still done after the node has ended, which will not hear of it.
    hold.unlink()
    with contextlib.suppress(NotFound):
        await lab.client.delete(Pod, "one", "default", grace_period_seconds=0)

    async def gone() -> bool:
        return await lab.client.find(Pod, "one", "default") is None

    await until(gone)
    lab.start()
    await lab.registered(there=True)
    await lab.clean()


async def test_secrets_groups_and_tokens(lab: CsiLab) -> None:
    await lab.driver.start(STAGES)
    await lab.describe(fsGroupPolicy="File")
    await lab.registered(there=True)
    for name, text in (("stage", "s3cret"), ("publish", "pass")):
        tree = {"metadata": {"name": name}, "stringData": {"key": text}}
        await lab.client.create_tree(Secret.resource, tree, "default")
    await lab.volume(
        "pv1",
        "vol-1",
        nodeStageSecretRef={"name": "stage", "namespace": "default"},
        nodePublishSecretRef={"name": "publish", "namespace": "default"},
    )
    await lab.claiming("one", "pv1", securityContext={"fsGroup": 4321})
    await lab.runs("one")
    stage, publish = lab.driver.calls("NodeStageVolume", "NodePublishVolume")
    assert (stage["secrets"], publish["secrets"]) == ({"key": "s3cret"}, {"key": "pass"})
    assert (lab.root / "store/volumes/vol-1").stat().st_gid == 4321


async def test_a_driver_that_sets_the_group_itself_is_told_of_it(lab: CsiLab) -> None:
    await lab.driver.start("VOLUME_MOUNT_GROUP", "SINGLE_NODE_MULTI_WRITER")
    await lab.describe(fsGroupPolicy="File")
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    await lab.claiming("one", "pv1", securityContext={"fsGroup": 4321})
    await lab.runs("one")
    (publish,) = lab.driver.calls("NodePublishVolume")
    assert publish["volumeCapability"] == {
        "mount": {"volumeMountGroup": "4321"},
        "accessMode": {"mode": "SINGLE_NODE_MULTI_WRITER"},
    }
    assert (lab.root / "store/volumes/vol-1").stat().st_gid == 0


async def test_a_volume_that_ends_with_its_pod(lab: CsiLab) -> None:
    await lab.driver.start(STAGES)
    await lab.describe(podInfoOnMount=True, volumeLifecycleModes=["Ephemeral"])
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    await lab.claiming("not", "pv1")
    await lab.said("FailedMount", f'volume mode "Persistent" not supported by driver {NAME}')
    pod = await lab.pod("one", {"csi": {"driver": NAME, "volumeAttributes": {"a": "b"}}})
    await lab.runs("one")
    (publish,) = lab.driver.calls()
    assert publish["volumeId"].startswith("csi-")
    assert publish["volumeContext"]["csi.storage.k8s.io/ephemeral"] == "true"
    assert publish["targetPath"].endswith(f"pods/{pod.metadata.uid}/volumes/kubernetes.io~csi/data/mount")
    await lab.end("one")
    await lab.clean()


async def test_an_attached_volume_is_waited_for_and_told_to_be_in_use(
    lab: CsiLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.driver.start(STAGES)
    await lab.describe(attachRequired=True)
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    monkeypatch.setattr(unfinished, "QUIET_SECONDS", 0.0)
    await lab.claiming("one", "pv1")
    name = attachment_name("vol-1", NAME, "n1")
    await lab.said("FailedMount", f"is still being mounted: it is not attached yet (VolumeAttachment {name})")
    spec = {"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": "pv1"}}
    await lab.client.create_tree(VolumeAttachment.resource, {"metadata": {"name": name}, "spec": spec})
    status = {"status": {"attached": False, "attachError": {"message": "no such disk"}}}
    await lab.client.patch(VolumeAttachment, name, None, status, subresource="status")
    await lab.said("FailedMount", "volume vol-1 of driver bind.csi.example.com cannot be attached: no such disk")
    assert lab.driver.calls() == []
    status = {"status": {"attached": True, "attachError": None, "attachmentMetadata": {"device": "/dev/x"}}}
    await lab.client.patch(VolumeAttachment, name, None, status, subresource="status")
    await lab.runs("one")
    assert [call["publishContext"] for call in lab.driver.calls()] == [{"device": "/dev/x"}] * 2

    async def in_use() -> list[str]:
        tree = orjson.loads(await lab.client.request("GET", Node.resource.path(None, "n1")))
        return tree["status"].get("volumesInUse") or []

    assert await in_use() == [f"kubernetes.io/csi/{NAME}^vol-1"]
    await lab.end("one")

    async def let_go() -> bool:
        return await in_use() == []

    await until(let_go)


async def test_a_volume_that_grew_is_expanded_and_its_claim_told(lab: CsiLab) -> None:
    await lab.driver.start(STAGES, "EXPAND_VOLUME")
    await lab.describe()
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    # What the driver's resizer leaves to the node.
    await lab.client.patch(PersistentVolume, "pv1", None, {"spec": {"capacity": {"storage": "2Gi"}}})
    conditions = [{"type": "FileSystemResizePending", "status": "True"}]
    pending = {"status": {"conditions": conditions, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}}
    await lab.client.patch(PersistentVolumeClaim, "pv1", "default", pending, subresource="status")
    await lab.claiming("one", "pv1")
    await lab.runs("one")
    (expand,) = lab.driver.calls("NodeExpandVolume")
    assert expand["capacityRange"] == {"requiredBytes": str(2 << 30)}
    assert expand["volumePath"].endswith("/pv1/mount")
    status = (await lab.client.get(PersistentVolumeClaim, "pv1", "default")).status
    assert (status.capacity, status.conditions) == ({"storage": "2Gi"}, [])
    assert status.allocated_resource_statuses == {}


async def test_a_driver_may_want_tokens_and_to_be_asked_again(lab: CsiLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounter, "REPUBLISH_SECONDS", 0.2)
    await lab.client.create_tree(ServiceAccount.resource, {"metadata": {"name": "default"}}, "default")
    await lab.driver.start()
    await lab.describe(requiresRepublish=True, tokenRequests=[{"audience": "vault"}])
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1")
    await lab.claiming("one", "pv1")
    await lab.runs("one")

    async def again() -> bool:
        return len(lab.driver.calls("NodePublishVolume")) > 2

    await until(again)
    told = lab.driver.calls("NodePublishVolume")[0]["volumeContext"]["csi.storage.k8s.io/serviceAccount.tokens"]
    assert orjson.loads(told)["vault"]["token"] == "for-vault"
    assert "expirationTimestamp" in orjson.loads(told)["vault"]
    await lab.end("one")
    await lab.clean()


async def test_a_node_without_a_root_for_drivers_says_so(lab: CsiLab) -> None:
    await lab.stop()
    lab.takes_drivers = False
    lab.start()
    await lab.pod("one", {"csi": {"driver": NAME}})
    await lab.said("FailedMount", "this node takes no CSI drivers: set csi_root_dir in its settings")


async def test_a_volume_that_is_a_device(lab: CsiLab) -> None:
    await lab.driver.start(STAGES)
    await lab.describe()
    await lab.registered(there=True)
    await lab.volume("pv1", "vol-1", mode="Block", volumeAttributes={"device": "/dev/null"})
    container = {"name": "a", "image": "img:1", "volumeDevices": [{"name": "data", "devicePath": "/dev/disk"}]}
    pod = await lab.claiming("one", "pv1", containers=[container])
    await lab.runs("one")
    target = lab.kubelet / "plugins/kubernetes.io/csi/volumeDevices/publish/pv1" / pod.metadata.uid
    (made,) = lab.runtime.containers.values()
    assert [(d.host_path, d.container_path) for d in made.config.devices] == [(str(target), "/dev/disk")]
    stage, publish = lab.driver.calls()
    assert stage["stagingTargetPath"].endswith("volumeDevices/staging/pv1")
    assert stage["volumeCapability"]["block"] == publish["volumeCapability"]["block"] == {}
    await lab.end("one")
    await lab.asked("Stage", "Publish", "Unpublish", "Unstage")
    await lab.clean()


async def test_a_driver_that_hangs_keeps_nobody_else(lab: CsiLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    monkeypatch.setattr(unfinished, "QUIET_SECONDS", 0.0)
    await lab.driver.start(STAGES)
    await lab.describe()
    await lab.registered(there=True)
    hold = lab.root / "store/hold-NodePublishVolume"
    hold.touch()
    names = [f"p{number}" for number in range(WORKERS + 1)]
    for name in names:
        await lab.volume(name, f"vol-{name}")
        await lab.claiming(name, name)
    await lab.said("FailedMount", f"of driver {NAME} is still being mounted: its driver has not answered yet")
    await lab.pod("other", {"emptyDir": {}})
    await lab.runs("other")
    # One that is deleted meanwhile is unmounted after the driver is done with it, not before.
    ending = asyncio.create_task(lab.end("p0"))
    await lab.said("FailedKillPod", "volumes are still being unmounted")
    assert lab.driver.calls("NodeUnpublishVolume") == []
    hold.unlink()
    await ending
    await lab.runs("other", *sorted(names[1:]))
    assert len(lab.driver.calls("NodePublishVolume")) == len(names)
    for name in names[1:]:
        await lab.client.delete(Pod, name, "default")
    await lab.clean()
