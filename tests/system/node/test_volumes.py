"""Volumes on a real runtime: what containers see, how it changes, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_cluster import USER_IMAGE, Cluster

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.objects import Obj

pytestmark = pytest.mark.system


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def config_map(cluster: Cluster, name: str, data: dict[str, str]) -> None:
    await cluster.client.create_tree(ConfigMap.resource, {"metadata": {"name": name}, "data": data}, "default")


async def secret(cluster: Cluster, name: str, data: dict[str, str]) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    await cluster.client.create_tree(Secret.resource, {"metadata": {"name": name}, "data": encoded}, "default")


def mounts(cluster: Cluster) -> list[str]:
    root = str(cluster.runtime.root / "pods")
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if root in line]


async def logged(cluster: Cluster, name: str, text: str) -> None:
    async def check() -> bool:
        return text in cluster.log(name)

    await cluster.until(check, f"{name} says {text!r}")


async def test_objects_become_files_and_change_at_once(cluster: Cluster) -> None:
    await config_map(cluster, "cm", {"a": "one", "b": "two"})
    await secret(cluster, "s", {"password": "hunter2"})
    spec: Obj = {
        "securityContext": {"fsGroup": 2000, "runAsUser": 1000},
        "volumes": [
            {"name": "cm", "configMap": {"name": "cm", "items": [{"key": "a", "path": "dir/first", "mode": 0o400}]}},
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"secret": {"name": "s"}},
                        {"configMap": {"name": "cm"}},
                        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                        {"configMap": {"name": "absent", "optional": True}},
                    ]
                },
            },
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
        "containers": [
            {
                "command": sh(
                    "cat /cm/dir/first /all/password /all/labels; stat -c %a:%g /tmp/mem;"
                    "while true; do cat /all/a /all/labels; echo; sleep 0.1; done"
                ),
                "volumeMounts": [
                    {"name": "cm", "mountPath": "/cm"},
                    {"name": "all", "mountPath": "/all"},
                    {"name": "tmp", "mountPath": "/tmp/mem"},
                ],
            }
        ],
    }
    await cluster.create("files", spec, labels={"app": "x"})
    await logged(cluster, "files", 'onehunter2app="x"2777:2000\n')
    assert len(mounts(cluster)) == 2
    await cluster.client.patch(ConfigMap, "cm", "default", {"data": {"a": "changed"}})
    await logged(cluster, "files", "changed")
    await cluster.client.patch(Pod, "files", "default", {"metadata": {"labels": {"later": "y"}}})
    await logged(cluster, "files", 'later="y"')
    await cluster.delete("files")
    assert mounts(cluster) == []


async def test_a_missing_object_is_waited_for(cluster: Cluster) -> None:
    spec: Obj = {
        "volumes": [{"name": "cm", "configMap": {"name": "late"}}],
        "containers": [{"command": sh("exec sleep 1000"), "volumeMounts": [{"name": "cm", "mountPath": "/cm"}]}],
    }
    await cluster.create("waits", spec)

    async def told() -> bool:
        return 'configmap "late" not found' in await cluster.events()

    await cluster.until(told, "the event names it")
    await config_map(cluster, "late", {"a": "b"})
    await cluster.ready("waits", 5)


async def test_environment_waits_for_its_references(cluster: Cluster) -> None:
    spec: Obj = {
        "containers": [
            {
                "command": sh("echo $A $B $C $IP; exec sleep 1000"),
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}},
                    {"name": "B", "value": "$(A)-$$(A)"},
                    {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "resources": {"limits": {"memory": "64Mi"}},
            }
        ]
    }
    await cluster.create("env", spec)

    async def held() -> bool:
        waiting = (await cluster.container("env")).state.waiting
        return waiting is not None and waiting.reason == "CreateContainerConfigError"

    await cluster.until(held, "it waits for the secret")
    await secret(cluster, "late", {"k": "value"})
    pod = await cluster.ready("env", 5)
    await logged(cluster, "env", f"value value-$(A) 67108864 {pod.status.pod_ip}\n")


async def test_subpaths_stay_in_their_volume(cluster: Cluster) -> None:
    volume = cluster.runtime.root / "shared"
    volume.mkdir()
    (volume / "out").symlink_to("/etc")
    volumes = [{"name": "v", "hostPath": {"path": str(volume)}}]
    good = [{"name": "v", "mountPath": "/data", "subPathExpr": "made/$(NAME)"}]
    bad = [{"name": "v", "mountPath": "/data", "subPath": "out"}]
    env = [{"name": "NAME", "value": "here"}]
    await cluster.create(
        "good",
        {
            "volumes": volumes,
            "containers": [{"env": env, "command": sh("touch /data/x; exec sleep 99"), "volumeMounts": good}],
        },
    )
    await cluster.create("bad", {"volumes": volumes, "containers": [{"command": sh("sleep 99"), "volumeMounts": bad}]})
    await cluster.ready("good")

    async def made() -> bool:
        return (volume / "made" / "here" / "x").exists()

    await cluster.until(made, "the file is in the volume")

    async def refused() -> bool:
        waiting = (await cluster.container("bad")).state.waiting
        return waiting is not None and "leads out of its volume" in waiting.message

    await cluster.until(refused, "the link is refused")


async def test_host_path_types(cluster: Cluster) -> None:
    spec: Obj = {
        "volumes": [{"name": "v", "hostPath": {"path": "/etc/hostname", "type": "Directory"}}],
        "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
    }
    await cluster.create("typed", spec)

    async def told() -> bool:
        return "/etc/hostname is not a directory" in await cluster.events()

    await cluster.until(told, "the event says it")


async def test_names_in_the_pod(cluster: Cluster) -> None:
    spec: Obj = {
        "hostname": "front",
        "subdomain": "web",
        "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db", "db.local"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}], "searches": ["example.test"]},
        "containers": [{"command": sh("hostname; cat /etc/hosts /etc/resolv.conf; exec sleep 99")}],
    }
    await cluster.create("names", spec)
    pod = await cluster.ready("names")
    await logged(cluster, "names", "options ndots:2")
    text = cluster.log("names")
    assert text.startswith("front\n")
    assert f"{pod.status.pod_ip}\tfront.web.default.svc.cluster.local\tfront\n" in text
    assert "10.0.0.9\tdb\tdb.local\n" in text
    assert "nameserver 10.96.0.10" in text
    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in text


async def test_local_persistent_volumes(cluster: Cluster) -> None:
    directory = cluster.runtime.root / "volumes" / "pv-1"
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "volumeName": "pv-1",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    made = await cluster.client.create_tree(PersistentVolumeClaim.resource, claim, "default")
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    volume = {
        "metadata": {
            "name": "pv-1",
            "annotations": {"pv.kubernetes.io/provisioned-by": "pilothouse.io/local"},
            "finalizers": ["pilothouse.io/local-volume"],
        },
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "persistentVolumeReclaimPolicy": "Delete",
            "local": {"path": str(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "claimRef": {"namespace": "default", "name": "data", "uid": made["metadata"]["uid"]},
        },
    }
    await cluster.client.create_tree(PersistentVolume.resource, volume)
    spec: Obj = {
        "securityContext": {"runAsUser": 1000, "fsGroup": 3000},
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        "containers": [
            {"command": sh("echo kept >/v/file; exec sleep 99"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        ],
    }
    await cluster.create("stateful", spec)

    async def told() -> bool:
        return 'persistentvolumeclaim "data" is not bound' in await cluster.events()

    await cluster.until(told, "it waits for the claim")
    await cluster.client.patch(
        PersistentVolumeClaim, "data", "default", {"status": {"phase": "Bound"}}, subresource="status"
    )
    await cluster.ready("stateful")

    async def written() -> bool:
        return (directory / "file").exists() and (directory / "file").read_text() == "kept\n"

    await cluster.until(written, "the file is on the host")
    assert (directory / "file").stat().st_gid == 3000
    await cluster.delete("stateful")
    assert (directory / "file").exists()
    await cluster.client.delete(PersistentVolume, "pv-1")

    async def gone() -> bool:
        return await cluster.client.find(PersistentVolume, "pv-1") is None and not directory.exists()

    await cluster.until(gone, "the volume is reclaimed")


async def bound_claim(cluster: Cluster, name: str, path: str, mode: str) -> None:
    """A claim bound to a volume at a path of the node."""
    claim: Obj = {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
            "storageClassName": "",
            "volumeMode": mode,
            "volumeName": name,
        },
    }
    made = await cluster.client.create_tree(PersistentVolumeClaim.resource, claim, "default")
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    volume: Obj = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": mode,
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "claimRef": {"namespace": "default", "name": name, "uid": made["metadata"]["uid"]},
        },
    }
    await cluster.client.create_tree(PersistentVolume.resource, volume)
    bound = {"status": {"phase": "Bound"}}
    await cluster.client.patch(PersistentVolumeClaim, name, "default", bound, subresource="status")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A block device of one MiB."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    done = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a loop device: {done.stderr}")
    yield Path(done.stdout.strip())
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


async def test_a_block_device_is_handed_through(cluster: Cluster, disk: Path) -> None:
    await bound_claim(cluster, "disk", str(disk), "Block")
    script = "echo written | dd of=/dev/disk conv=fsync 2>/dev/null; dd if=/dev/disk bs=8 count=1 2>/dev/null; sleep 99"
    spec: Obj = {
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}],
        "containers": [{"command": sh(script), "volumeDevices": [{"name": "d", "devicePath": "/dev/disk"}]}],
    }
    await cluster.create("raw", spec)
    await logged(cluster, "raw", "written")
    await cluster.delete("raw")
    assert (await asyncio.to_thread(disk.read_bytes)).startswith(b"written\n")
    spec["containers"] = [{"command": sh("true"), "volumeMounts": [{"name": "d", "mountPath": "/d"}]}]
    await cluster.create("wrong", spec)

    async def told() -> bool:
        return "volume 'd' is a block device" in await cluster.events()

    await cluster.until(told, "a mount of a device is refused")


async def test_an_image_is_a_volume_to_read_from(cluster: Cluster) -> None:
    script = """
        cmp /bin/busybox /img/usr/bin/busybox && cmp /bin/busybox /one && echo same
        touch /img/new || echo not written
        /img/usr/bin/busybox true || echo not run
        exec sleep 1000
    """
    spec: Obj = {
        "volumes": [{"name": "img", "image": {"reference": USER_IMAGE, "pullPolicy": "Never"}}],
        "containers": [
            {
                "command": sh(script.replace("/bin/busybox /", "/usr/bin/busybox /")),
                "volumeMounts": [
                    {"name": "img", "mountPath": "/img"},
                    {"name": "img", "mountPath": "/one", "subPath": "usr/bin/busybox"},
                ],
            }
        ],
    }

    def views() -> bytes:
        return cluster.runtime.ctr("snapshots", "ls").stdout

    await cluster.create("shown", spec)
    for said in ("same", "not written", "not run"):
        await logged(cluster, "shown", said)
    assert b"pilothouse-volume-" in views()
    await cluster.stop_node()
    cluster.start_node()
    await cluster.ready("shown")
    assert (await cluster.container("shown")).restart_count == 0
    await cluster.delete("shown")
    assert b"pilothouse-volume-" not in views()
    assert mounts(cluster) == []


async def test_an_image_volume_that_cannot_be_had_is_named(cluster: Cluster) -> None:
    volume = {"name": "img", "image": {"reference": "example.test/none:1", "pullPolicy": "Never"}}
    containers = [{"command": sh("true"), "volumeMounts": [{"name": "img", "mountPath": "/img"}]}]
    await cluster.create("missing", {"volumes": [volume], "containers": containers})

    async def told() -> bool:
        return 'image "example.test/none:1" is not present' in await cluster.events()

    await cluster.until(told, "the missing image is named")
