"""Containers on a real runtime: restarts, init containers, sidecars, reasons, hooks."""

from __future__ import annotations

import pytest
from node_cluster import NAMED_USER_IMAGE, USER_IMAGE, Cluster

pytestmark = pytest.mark.system


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def test_a_finished_pod_has_succeeded(cluster: Cluster) -> None:
    await cluster.create(
        "job", {"restartPolicy": "Never", "containers": [{"command": sh("echo bye >/dev/termination-log")}]}
    )
    pod = await cluster.phase("job", "Succeeded")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, ended.message) == (0, "Completed", "bye\n")
    assert {c.type: c.status for c in pod.status.conditions}["Ready"] == "False"


async def test_a_failed_pod_says_why(cluster: Cluster) -> None:
    spec = {
        "restartPolicy": "Never",
        "containers": [
            {"command": sh("echo no such table; exit 3"), "terminationMessagePolicy": "FallbackToLogsOnError"}
        ],
    }
    await cluster.create("job", spec)
    pod = await cluster.phase("job", "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, ended.message) == (3, "Error", "no such table\n")


async def test_a_crash_loop_backs_off(cluster: Cluster) -> None:
    await cluster.create("bad", {"containers": [{"command": sh("exit 1")}]})

    async def backing_off() -> bool:
        status = await cluster.container("bad")
        return status.state.waiting is not None and status.state.waiting.reason == "CrashLoopBackOff"

    await cluster.until(backing_off, "it backs off")
    status = await cluster.container("bad")
    assert status.restart_count == 1
    assert status.last_state.terminated.exit_code == 1
    assert "back-off 10s restarting failed container=c0 pod=bad_default(" in status.state.waiting.message


async def test_init_containers_and_sidecars_start_in_order(cluster: Cluster) -> None:
    spec = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [
            {"name": "i1", "command": sh("echo i1 >>/v/order"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {
                "name": "side",
                "restartPolicy": "Always",
                "command": sh("echo side >>/v/order; exec sleep 1000"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "startupProbe": {"exec": {"command": sh("true")}, "periodSeconds": 1},
            },
            {"name": "i2", "command": sh("echo i2 >>/v/order"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        ],
        "containers": [
            {
                "name": "main",
                "command": sh("cat /v/order; exec sleep 1000"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
    }
    await cluster.create("ordered", spec)
    await cluster.ready("ordered")

    async def logged() -> bool:
        return cluster.log("ordered", "main") == "i1\nside\ni2\n"

    await cluster.until(logged, "the order is as declared")
    raw = await cluster.raw("ordered")
    assert [s["ready"] for s in raw["status"]["initContainerStatuses"]] == [True, True, True]


async def test_sidecars_end_after_the_work(cluster: Cluster) -> None:
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "side", "restartPolicy": "Always", "command": sh("exec sleep 1000")}],
        "containers": [{"name": "main", "command": sh("true")}],
    }
    await cluster.create("work", spec)
    await cluster.phase("work", "Succeeded")
    assert cluster.runtime.tasks() == []


async def test_a_failing_init_container_of_a_one_shot_pod_fails_it(cluster: Cluster) -> None:
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "i", "command": sh("exit 4")}],
        "containers": [{"name": "main", "command": sh("true")}],
    }
    await cluster.create("work", spec)
    pod = await cluster.phase("work", "Failed")
    assert pod.status.init_container_statuses[0].state.terminated.exit_code == 4


async def test_a_program_that_does_not_exist(cluster: Cluster) -> None:
    await cluster.create("typo", {"containers": [{"command": ["/no/such/program"]}]})

    async def told() -> str:
        status = await cluster.container("typo")
        last = status.last_state.terminated if status.last_state is not None else None
        return last.message if last is not None and last.reason == "StartError" else ""

    assert "/no/such/program" in await cluster.until(told, "the start error is shown")


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [
        ("UPPER/case", "IfNotPresent", "InvalidImageName"),
        ("example.test/none:1", "Never", "ErrImageNeverPull"),
        ("127.0.0.1:1/none:1", "IfNotPresent", "ErrImagePull"),
    ],
)
async def test_images_that_cannot_be_had(cluster: Cluster, image: str, policy: str, reason: str) -> None:
    await cluster.create("img", {"containers": [{"image": image, "imagePullPolicy": policy}]})

    async def held() -> str:
        waiting = (await cluster.container("img")).state.waiting
        return waiting.message if waiting is not None and waiting.reason == reason else ""

    message = await cluster.until(held, reason, 15)
    if reason == "ErrImagePull":
        assert "registry 127.0.0.1:1 cannot be reached" in message
        assert "certs.d/127.0.0.1:1/hosts.toml" in message


async def test_running_as_non_root_is_verified(cluster: Cluster) -> None:
    context = {"runAsNonRoot": True}
    await cluster.create("root", {"securityContext": context, "containers": [{}]})
    await cluster.create("name", {"securityContext": context, "containers": [{"image": NAMED_USER_IMAGE}]})
    await cluster.create(
        "good",
        {
            "securityContext": context,
            "containers": [{"image": USER_IMAGE, "command": sh("id -u; id -g; exec sleep 99")}],
        },
    )
    await cluster.ready("good")

    async def logged() -> bool:
        return cluster.log("good") == "65534\n65534\n"

    await cluster.until(logged, "it runs as the image's user and group")
    for name, sign in (("root", "image will run as root"), ("name", "non-numeric user (app)")):

        async def held(name: str = name, sign: str = sign) -> bool:
            waiting = (await cluster.container(name)).state.waiting
            return waiting is not None and waiting.reason == "CreateContainerConfigError" and sign in waiting.message

        await cluster.until(held, f"{name} is refused")


async def test_out_of_memory(cluster: Cluster) -> None:
    spec = {
        "restartPolicy": "Never",
        "containers": [
            {
                "command": sh("dd if=/dev/zero of=/dev/null bs=200M count=1"),
                "resources": {"limits": {"memory": "20Mi"}},
            }
        ],
    }
    await cluster.create("hungry", spec)
    pod = await cluster.phase("hungry", "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_hooks_run_and_grace_is_kept(cluster: Cluster) -> None:
    spec = {
        "terminationGracePeriodSeconds": 10,
        "volumes": [
            {"name": "v", "hostPath": {"path": str(cluster.runtime.root / "hooks"), "type": "DirectoryOrCreate"}}
        ],
        "containers": [
            {
                "command": sh("trap 'echo term >>/v/log; exit 0' TERM; while true; do sleep 0.1; done"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "lifecycle": {
                    "postStart": {"exec": {"command": sh("echo post >>/v/log")}},
                    "preStop": {"exec": {"command": sh("echo pre >>/v/log")}},
                },
            }
        ],
    }
    await cluster.create("hooked", spec)
    await cluster.ready("hooked")
    await cluster.delete("hooked")
    assert (cluster.runtime.root / "hooks" / "log").read_text() == "post\npre\nterm\n"


async def test_a_stop_signal_of_the_pods_own(cluster: Cluster) -> None:
    log = cluster.runtime.root / "signals" / "log"
    script = 'for s in TERM INT; do trap "echo $s >>/v/log; exit 0" $s; done; while true; do sleep 0.1; done'
    spec = {
        "terminationGracePeriodSeconds": 10,
        "volumes": [{"name": "v", "hostPath": {"path": str(log.parent), "type": "DirectoryOrCreate"}}],
        "containers": [
            {
                "command": sh(script),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "lifecycle": {"stopSignal": "SIGINT"},
            }
        ],
    }
    await cluster.create("signalled", spec)
    await cluster.ready("signalled")
    await cluster.delete("signalled")
    assert log.read_text() == "INT\n"


async def test_deletion_while_pulling_or_starting(cluster: Cluster) -> None:
    await cluster.create("slow", {"containers": [{"image": "10.231.1.250:5000/none:1"}]})
    await cluster.create("quick", {"containers": [{"command": sh("sleep 1000")}]})
    await cluster.delete("quick")
    await cluster.delete("slow")
    assert cluster.runtime.tasks() == []


async def test_restart_by_liveness(cluster: Cluster) -> None:
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "command": sh("touch /alive; sleep 1; rm /alive; exec sleep 1000"),
                "livenessProbe": {"exec": {"command": sh("cat /alive")}, "periodSeconds": 1, "failureThreshold": 1},
            }
        ],
    }
    await cluster.create("sick", spec)

    async def restarted() -> bool:
        return (await cluster.container("sick")).restart_count == 1

    await cluster.until(restarted, "it is restarted")
    assert "failed liveness probe, will be restarted" in await cluster.events()


async def test_readiness_by_http(cluster: Cluster) -> None:
    spec = {
        "containers": [
            {
                "command": sh("mkdir /www; touch /www/ok; sleep 1; exec busybox httpd -f -p 8080 -h /www"),
                "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}, "periodSeconds": 1},
            }
        ]
    }
    await cluster.create("http", spec)
    pod = await cluster.phase("http", "Running")
    assert not pod.status.container_statuses[0].ready
    await cluster.ready("http")


async def test_an_active_deadline(cluster: Cluster) -> None:
    await cluster.create("late", {"activeDeadlineSeconds": 1, "containers": [{"command": sh("sleep 1000")}]})
    pod = await cluster.phase("late", "Failed")
    assert pod.status.reason == "DeadlineExceeded"


async def test_what_cannot_be_honoured_is_refused(cluster: Cluster) -> None:
    await cluster.create(
        "sys", {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, "containers": [{}]}
    )
    pod = await cluster.phase("sys", "Failed")
    assert (pod.status.reason, pod.status.message) == (
        "SysctlForbidden",
        "forbidden sysctl: 'kernel.msgmax' not allowlisted",
    )
