"""What `deploy` and `status` say of a workload, from its objects."""

from __future__ import annotations

from typing import Any

from pilothouse.cli.progress import REVISION, of_deployment, of_pod, proves_itself
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree

OWNER = {"apiVersion": "apps/v1", "controller": True}


def deployment(replicas: int = 2, observed: int = 1, **status: Any) -> Deployment:
    tree = {
        "metadata": {"name": "web", "uid": "d", "generation": 1},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, **status},
    }
    result: Deployment = from_tree(Deployment, tree)
    return result


def replica_set(uid: str, revision: int) -> ReplicaSet:
    tree = {
        "metadata": {
            "name": uid,
            "uid": uid,
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [{**OWNER, "kind": "Deployment", "name": "web", "uid": "d"}],
        }
    }
    result: ReplicaSet = from_tree(ReplicaSet, tree)
    return result


def pod(replica_set: str, **status: Any) -> Pod:
    tree = {
        "metadata": {
            "name": f"{replica_set}-pod",
            "ownerReferences": [{**OWNER, "kind": "ReplicaSet", "name": replica_set, "uid": replica_set}],
        },
        "status": status,
    }
    result: Pod = from_tree(Pod, tree)
    return result


def waiting(reason: str, message: str = "", restarts: int = 0, **last: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "c", "state": state, "restartCount": restarts, "lastState": last}]}


def test_ready_when_all_pods_are_new_and_available() -> None:
    progress = of_deployment(deployment(replicas=2, updatedReplicas=2, availableReplicas=2), [], [])
    assert (progress.state, progress.ready, progress.wanted) == ("ready", 2, 2)


def test_not_ready_while_old_pods_are_ending() -> None:
    live = deployment(replicas=2, updatedReplicas=2, availableReplicas=2)
    live.status.replicas = 3
    progress = of_deployment(live, [], [])
    assert (progress.state, progress.text) == ("waiting", "1 old pods are ending")


def test_not_ready_before_the_controller_saw_the_change() -> None:
    progress = of_deployment(deployment(observed=0, updatedReplicas=2, availableReplicas=2, replicas=2), [], [])
    assert (progress.state, progress.text) == ("waiting", "waiting for the controller")


def test_trouble_of_an_older_revision_does_not_count() -> None:
    broken = pod("old", **waiting("ImagePullBackOff", "no such image"))
    progress = of_deployment(deployment(), [replica_set("old", 1), replica_set("new", 2)], [broken])
    assert progress.state == "waiting"
    assert not progress.troubles


def test_an_image_that_cannot_be_pulled_fails_it() -> None:
    broken = pod("new", **waiting("ImagePullBackOff", "no such image"))
    progress = of_deployment(deployment(), [replica_set("new", 2)], [broken])
    assert (progress.state, progress.text) == ("failed", "ImagePullBackOff: no such image")


def test_the_gist_of_a_failed_pull_is_shown_without_the_chain_of_errors() -> None:
    chain = 'failed to pull and unpack image "r/x": failed to resolve reference "r/x": not found'
    message = f'Back-off pulling image "r/x": image "r/x" does not exist in registry r: {chain}'
    progress = of_deployment(
        deployment(), [replica_set("new", 1)], [pod("new", **waiting("ImagePullBackOff", message))]
    )
    assert progress.text == 'ImagePullBackOff: image "r/x" does not exist in registry r'
    assert chain in progress.troubles[0].message


def test_a_deployment_proves_itself_by_readiness_probes() -> None:
    live = deployment()
    live.spec.template = {"spec": {"containers": [{"name": "a", "readinessProbe": {}}, {"name": "b"}]}}
    assert not proves_itself(live)
    live.spec.template["spec"]["containers"].pop()
    live.spec.template["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 1}}
    assert proves_itself(live)


def test_the_first_failed_pull_may_still_be_mended() -> None:
    first = pod("new", **waiting("ErrImagePull", "no such image"))
    assert of_deployment(deployment(), [replica_set("new", 2)], [first]).state == "waiting"


def test_a_crash_loop_says_how_it_ended_and_wants_the_log() -> None:
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no database\n"}}
    (trouble,) = of_pod(pod("new", **waiting("CrashLoopBackOff", "back-off 10s", restarts=2, **ended)))
    assert trouble.message == "it ended with exit code 3 (Error): no database"
    assert trouble.lasting
    assert trouble.wants_log


def test_a_pod_that_cannot_be_set_up_says_why_and_one_that_merely_starts_says_nothing() -> None:
    assert of_pod(pod("new", **waiting("ContainerCreating"))) == []
    (trouble,) = of_pod(pod("new", **waiting("ContainerCreating", 'MountVolume.SetUp failed: secret "s" not found')))
    assert trouble.message.endswith('secret "s" not found')
    assert not trouble.lasting


def test_the_scheduler_s_reason_is_shown() -> None:
    message = "0/1 nodes are available: 1 Insufficient memory."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    progress = of_deployment(deployment(), [replica_set("new", 1)], [pod("new", conditions=[condition])])
    assert progress.text == f"Unschedulable: {message}"


def test_pods_that_are_refused_fail_it_with_the_api_s_words() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    progress = of_deployment(deployment(conditions=[condition]), [], [])
    assert (progress.state, progress.text) == ("failed", "FailedCreate: exceeded quota: q")
