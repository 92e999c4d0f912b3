"""A pod's status: phases, conditions, container states, and the patch that carries them."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.plan import waiting_for
from pilothouse.node.state import ContainerState, Phase, PodState, Refusal, SandboxState
from pilothouse.node.status import difference, pod_status

NOW = 1_800_000_000.0


def state(policy: str = "Always", *, init: tuple[dict[str, Any], ...] = (), **metadata: Any) -> PodState:
    tree = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1, **metadata},
        "spec": {
            "restartPolicy": policy,
            "containers": [{"name": "a", "image": "img"}],
            "initContainers": [{"image": "img", **container} for container in init],
        },
    }
    made = PodState("u", "ns", "p", from_tree(Pod, tree), started_at=NOW - 60)
    made.sandbox = SandboxState("s", ip="10.0.0.2")
    return made


def put(made: PodState, phase: Phase, code: int = 0, name: str = "a", **more: Any) -> None:
    settings = {"sandbox_id": "s", "started_at": NOW - 9, "finished_at": NOW - 3, **more}
    made.containers[name] = ContainerState(name, f"id-{name}", phase=phase, exit_code=code, **settings)


def shown(made: PodState) -> dict[str, Any]:
    waiting, _ = waiting_for(made, NOW)
    return pod_status(made, waiting, ["192.0.2.1"], NOW)


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


@pytest.mark.parametrize(
    ("policy", "phase", "code", "expected"),
    [
        ("Always", None, 0, "Pending"),
        ("Always", Phase.RUNNING, 0, "Running"),
        ("Always", Phase.EXITED, 1, "Running"),
        ("Never", Phase.EXITED, 0, "Succeeded"),
        ("Never", Phase.EXITED, 1, "Failed"),
        ("OnFailure", Phase.EXITED, 0, "Succeeded"),
        ("OnFailure", Phase.EXITED, 1, "Running"),
    ],
)
def test_phases(policy: str, phase: Phase | None, code: int, expected: str) -> None:
    made = state(policy)
    if phase is not None:
        put(made, phase, code)
    assert shown(made)["phase"] == expected


def test_a_running_pod() -> None:
    made = state()
    put(made, Phase.RUNNING, started=True, ready=True)
    status = shown(made)
    assert (status["podIP"], status["hostIP"], status["qosClass"]) == ("10.0.0.2", "192.0.2.1", "BestEffort")
    assert set(conditions(status).values()) == {"True"}
    assert status["containerStatuses"][0]["containerID"] == "containerd://id-a"


def test_readiness_gates_hold_a_pod_back() -> None:
    made = state()
    put(made, Phase.RUNNING, started=True, ready=True)
    assert made.pod is not None
    made.pod.spec.readiness_gates = from_tree(
        Pod, {"spec": {"readinessGates": [{"conditionType": "x/y"}]}}
    ).spec.readiness_gates
    status = shown(made)
    assert (conditions(status)["ContainersReady"], conditions(status)["Ready"]) == ("True", "False")


def test_waiting_for_init_containers() -> None:
    made = state(init=({"name": "i"},))
    status = shown(made)
    assert status["phase"] == "Pending"
    for entry in status["initContainerStatuses"] + status["containerStatuses"]:
        assert entry["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = next(c for c in status["conditions"] if c["type"] == "Initialized")
    assert initialized["message"] == "containers with incomplete status: [i]"


def test_what_keeps_a_pod_from_being_set_up_is_said() -> None:
    made = state()
    assert shown(made)["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    made.volumes_message = 'secret "s" not found'
    expected = {"reason": "ContainerCreating", "message": 'MountVolume.SetUp failed: secret "s" not found'}
    assert shown(made)["containerStatuses"][0]["state"] == {"waiting": expected}
    made.sandbox_message = "Failed to create pod sandbox: no address"
    assert shown(made)["containerStatuses"][0]["state"]["waiting"]["message"] == made.sandbox_message


def test_a_refused_pod_has_failed() -> None:
    made = state()
    made.refusal = Refusal("SysctlForbidden", "why")
    status = shown(made)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "SysctlForbidden", "why")


def test_a_deleted_pod_ends_failed_when_its_work_did() -> None:
    made = state(deletionTimestamp="2027-01-15T08:00:00Z")
    put(made, Phase.EXITED, 143)
    assert shown(made)["phase"] == "Failed"


def test_times_of_conditions_stay_while_they_do_not_change() -> None:
    made = state()
    first = shown(made)
    put(made, Phase.RUNNING, started=True, ready=True)
    later = pod_status(made, {}, ["192.0.2.1"], NOW + 50, first["conditions"])
    times = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert times["Initialized"] != times["Ready"]


def test_only_what_changed_is_sent() -> None:
    made = state()
    first = shown(made)
    assert set(difference({}, first)) == set(first)
    assert difference(first, first) == {}
    put(made, Phase.RUNNING, started=True, ready=True)
    second = pod_status(made, {}, ["192.0.2.1"], NOW, first["conditions"])
    patch = difference(first, second)
    assert set(patch) == {"phase", "containerStatuses", "conditions"}
    assert {c["type"] for c in patch["conditions"]} == {"Ready", "ContainersReady"}


def test_an_address_is_replaced_not_added() -> None:
    before, after = {"podIPs": [{"ip": "10.0.0.2"}]}, {"podIPs": [{"ip": "10.0.0.3"}]}
    assert difference(before, after) == {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.3"}]}
