"""Plans as text: a scenario is a pod and what the node knows of it; the golden file shows what is done next.

`PILOTHOUSE_UPDATE_GOLDEN=1 pytest tests/golden/node` writes the file anew; its difference is then reviewed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pilothouse.kinds.core.container import (
    ContainerResizePolicy,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    ResourceRequirements,
)
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.hashing import spec_hash
from pilothouse.node.plan import holds_resources, make_plan, waiting_for
from pilothouse.node.state import Backoff, ContainerState, Phase, PodState, Refusal, SandboxState, Waiting

GOLDEN = Path(__file__).parent / "plans.txt"
NOW = 1_800_000_000.0
SIDECAR = {"restartPolicy": "Always"}


def pod(init: dict[str, dict[str, Any]] | None = None, *, deleted: bool = False, **spec: Any) -> Pod:
    """A pod with containers `a` and `b`; `init` maps names of init containers to what is special about them."""
    tree: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1"},
        "spec": {
            "containers": [{"name": name, "image": f"img-{name}"} for name in "ab"],
            "initContainers": [{"name": name, "image": "img", **more} for name, more in (init or {}).items()],
            **spec,
        },
    }
    if deleted:
        tree["metadata"] |= {"deletionTimestamp": "2027-01-15T08:00:05Z", "deletionGracePeriodSeconds": 5}
    result: Pod = from_tree(Pod, tree)
    return result


def state(desired: Pod, *, sandbox: bool | None = True, volumes: bool = True) -> PodState:
    made = PodState("u1", "ns", "p", desired, volumes_ready=volumes, admitted=True, started_at=NOW - 100)
    if sandbox is not None:
        made.sandbox = SandboxState("s1", ready=sandbox, ip="10.0.0.2")
    return made


def run(made: PodState, name: str, phase: Phase = Phase.RUNNING, code: int = 0, **more: Any) -> ContainerState:
    assert made.pod is not None
    spec = next(c for c in [*made.pod.spec.containers, *made.pod.spec.init_containers] if c.name == name)
    settings = {"sandbox_id": "s1", "started": True, "finished_at": NOW - 5, "spec_hash": spec_hash(spec), **more}
    made.containers[name] = ContainerState(name, f"id-{name}", phase=phase, exit_code=code, **settings)
    return made.containers[name]


def new_pod() -> PodState:
    return state(pod(), sandbox=None, volumes=False)


def sandbox_and_images_there() -> PodState:
    made = state(pod())
    made.images = {"a": "sha256:1", "b": "sha256:2"}
    return made


def first_init_container() -> PodState:
    return state(pod({"i1": {}, "i2": {}}))


def sidecar_before_the_rest() -> PodState:
    made = state(pod({"side": SIDECAR, "i": {}}))
    run(made, "side", started=False)
    return made


def sidecar_started() -> PodState:
    made = state(pod({"side": SIDECAR, "i": {}}))
    run(made, "side")
    return made


def all_runs() -> PodState:
    made = state(pod())
    run(made, "a")
    run(made, "b")
    return made


def crashed_once() -> PodState:
    made = all_runs()
    run(made, "a", Phase.EXITED, 1)
    return made


def crashed_again() -> PodState:
    made = crashed_once()
    made.restarts["a"] = Backoff(20.0, NOW - 6)
    return made


def quiet_for_long() -> PodState:
    made = crashed_once()
    made.restarts["a"] = Backoff(300.0, NOW - 700)
    return made


def finished_but_sidecar() -> PodState:
    made = state(pod({"side": SIDECAR}, restartPolicy="OnFailure"))
    run(made, "side")
    run(made, "a", Phase.EXITED)
    run(made, "b", Phase.EXITED)
    return made


def failed_init_of_one_shot() -> PodState:
    made = state(pod({"i": {}}, restartPolicy="Never"))
    run(made, "i", Phase.EXITED, 1)
    return made


def sandbox_died() -> PodState:
    made = all_runs()
    assert made.sandbox is not None
    made.sandbox.ready = False
    return made


def after_a_power_cut_old_sandboxes() -> PodState:
    made = state(pod({"i": {}}), sandbox=None)
    made.old_sandboxes = ["s0"]
    run(made, "i", Phase.EXITED, sandbox_id="s0")
    run(made, "a", Phase.EXITED, 255, sandbox_id="s0")
    return made


def liveness_failed() -> PodState:
    made = all_runs()
    made.containers["b"].kill_reason = "Container b failed liveness probe, will be restarted"
    made.containers["b"].kill_grace = 3.0
    return made


def image_changed() -> PodState:
    made = all_runs()
    made.containers["a"].spec_hash = "other"
    return made


def pull_failed_just_now() -> PodState:
    made = state(pod())
    made.images = {"b": "sha256:2"}
    made.waiting["a"] = Waiting("ErrImagePull", "no such host", until=NOW + 10, since=NOW)
    return made


def pull_failed_a_while_ago() -> PodState:
    made = pull_failed_just_now()
    made.waiting["a"] = Waiting("ErrImagePull", "no such host", until=NOW + 5, since=NOW - 5)
    return made


def deleted_while_running() -> PodState:
    made = state(pod({"s1": SIDECAR, "s2": SIDECAR}, deleted=True))
    for name in ("s1", "s2", "a", "b"):
        run(made, name)
    return made


def deleted_sidecars_left() -> PodState:
    made = deleted_while_running()
    for name in ("a", "b"):
        run(made, name, Phase.EXITED, 143)
    return made


def deleted_and_stopped() -> PodState:
    made = state(pod(deleted=True))
    run(made, "a", Phase.EXITED, 143)
    return made


def deleted_with_a_shorter_grace() -> PodState:
    made = state(pod(deleted=True))
    run(made, "a", stopping_since=NOW - 1, kill_at=NOW + 29)
    run(made, "b", stopping_since=NOW - 1, kill_at=NOW + 3)
    return made


def a_stop_that_came_to_nothing() -> PodState:
    made = state(pod(deleted=True))
    run(made, "a", stopping_since=NOW - 100, kill_at=NOW - 61)
    return made


def known_only_to_the_runtime() -> PodState:
    made = PodState("u1", "ns", "p", None, sandbox=SandboxState("s1"))
    made.containers["a"] = ContainerState("a", "id-a", phase=Phase.RUNNING)
    return made


def refused() -> PodState:
    made = state(pod(), sandbox=None, volumes=False)
    made.refusal = Refusal("SysctlForbidden", "…")
    return made


def past_its_deadline() -> PodState:
    made = all_runs()
    assert made.pod is not None
    made.pod.spec.active_deadline_seconds = 60
    return made


def volumes_not_there_yet() -> PodState:
    made = state(pod(), volumes=False)
    made.volumes_retry_at = NOW + 2
    return made


def looked_into() -> PodState:
    """Ephemeral containers start first, even while an init container fails, and once only."""
    made = state(pod({"i": {}}, ephemeralContainers=[{"name": "debug", "image": "t"}, {"name": "old", "image": "t"}]))
    run(made, "i", Phase.EXITED, 1, finished_at=NOW - 60)
    made.containers["old"] = ContainerState("old", "id-old", phase=Phase.EXITED, sandbox_id="s1")
    made.images = {"debug": "sha256:3"}
    return made


def restart_rules() -> PodState:
    """`a` is restarted for its exit code, `b` by its own policy, although the pod says Never."""
    made = state(pod(restartPolicy="Never"))
    assert made.pod is not None
    a, b = made.pod.spec.containers
    rule = ContainerRestartRule(
        action="Restart", exit_codes=ContainerRestartRuleOnExitCodes(operator="In", values=[42])
    )
    a.restart_policy, a.restart_policy_rules, b.restart_policy = "Never", [rule], "OnFailure"
    run(made, "a", Phase.EXITED, 42)
    run(made, "b", Phase.EXITED, 1)
    made.images = {"a": "sha256:1", "b": "sha256:2"}
    return made


def restart_rules_that_do_not_apply() -> PodState:
    made = restart_rules()
    made.containers["a"].exit_code, made.containers["b"].exit_code = 1, 0
    return made


def resized() -> PodState:
    """`a` grows in place, `b` asks to be restarted for its memory."""
    made = state(pod())
    assert made.pod is not None
    for container in made.pod.spec.containers:
        container.resources = ResourceRequirements(limits={"memory": "2Gi"})
        run(made, container.name).resources = {"limits": {"memory": "1Gi"}}
    policy = ContainerResizePolicy(resource_name="memory", restart_policy="RestartContainer")
    made.pod.spec.containers[1].resize_policy = [policy]
    return made


SCENARIOS: list[Callable[[], PodState]] = [
    new_pod,
    sandbox_and_images_there,
    first_init_container,
    sidecar_before_the_rest,
    sidecar_started,
    all_runs,
    crashed_once,
    crashed_again,
    quiet_for_long,
    finished_but_sidecar,
    failed_init_of_one_shot,
    sandbox_died,
    after_a_power_cut_old_sandboxes,
    liveness_failed,
    image_changed,
    pull_failed_just_now,
    pull_failed_a_while_ago,
    deleted_while_running,
    deleted_sidecars_left,
    deleted_and_stopped,
    deleted_with_a_shorter_grace,
    a_stop_that_came_to_nothing,
    known_only_to_the_runtime,
    refused,
    past_its_deadline,
    volumes_not_there_yet,
    looked_into,
    restart_rules,
    restart_rules_that_do_not_apply,
    resized,
]


def rendered(made: PodState) -> str:
    plan = make_plan(made, NOW)
    waiting, changes = waiting_for(made, NOW)
    lines = [f"  {action}" for action in plan.actions] or ["  nothing"]
    lines += [f"  {name} waits: {held.reason}: {held.message}" for name, held in waiting.items()]
    moments = [moment for moment in (plan.again_at, changes) if moment is not None]
    if moments:
        lines.append(f"  again after {min(moments) - NOW:g} s")
    return "\n".join(lines)


def test_plans() -> None:
    text = "".join(f"{s.__name__.replace('_', ' ')}\n{rendered(s())}\n\n" for s in SCENARIOS)
    if os.environ.get("PILOTHOUSE_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_what_a_pod_asked_for_is_free_once_all_of_it_has_ended() -> None:
    made = state(pod(restartPolicy="Never"))
    run(made, "a", Phase.EXITED)
    run(made, "b")
    assert holds_resources(made)
    run(made, "b", Phase.EXITED, 1)
    assert not holds_resources(made)
