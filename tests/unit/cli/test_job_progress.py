"""How `deploy` and `status` put a Job's state."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.cli.job_progress import of_job
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod


def job(*conditions: str, spec: dict[str, Any] | None = None, **status: Any) -> Job:
    listed = [{"type": c, "status": "True", "reason": "Why", "message": "so"} for c in conditions]
    tree = {
        "metadata": {"name": "work", "namespace": "shop", "uid": "j"},
        "spec": {"completions": 3, **(spec or {})},
        "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": listed, **status},
    }
    return msgspec.convert(tree, Job)


def pod(name: str, phase: str, **status: Any) -> Pod:
    owner = {"kind": "Job", "name": "work", "uid": "j", "controller": True}
    tree = {"metadata": {"name": name, "ownerReferences": [owner]}, "status": {"phase": phase, **status}}
    return msgspec.convert(tree, Pod)


@pytest.mark.parametrize(
    ("given", "state", "text"),
    [
        (job("SuccessCriteriaMet", "Complete", succeeded=3), "ready", "complete"),
        (job(spec={"suspend": True}), "ready", "suspended"),
        (job("FailureTarget"), "failed", "Why: so"),
        (job("FailureTarget", "Failed"), "failed", "Why: so"),
        (job(startTime=None), "waiting", "waiting for the controller"),
        (job(succeeded=1, active=2, failed=1), "waiting", "1 of 3 pods succeeded, 2 run, 1 failed"),
    ],
)
def test_states(given: Job, state: str, text: str) -> None:
    progress = of_job(given, [])
    assert (progress.state, progress.text, progress.wanted) == (state, text, 3)


def test_only_a_job_that_has_failed_for_good_is_given_up_at_once() -> None:
    assert of_job(job("FailureTarget", "Failed"), []).final
    assert not of_job(job("FailureTarget"), []).final


def test_the_last_failed_pod_says_why() -> None:
    ended = {"terminated": {"exitCode": 7, "reason": "Error", "message": "no such table\n"}}
    failed = pod("work-a", "Failed", containerStatuses=[{"name": "main", "state": ended}])
    (trouble,) = of_job(job("Failed"), [failed]).troubles
    assert (trouble.pod, trouble.container, trouble.wants_log) == ("work-a", "main", True)
    assert trouble.message == "it ended with exit code 7: no such table"


def test_an_image_that_cannot_be_had_fails_the_wait() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    stuck = pod("work-a", "Pending", containerStatuses=[{"name": "main", "state": waiting}])
    progress = of_job(job(active=1), [stuck])
    assert (progress.state, progress.text) == ("failed", "ImagePullBackOff: not found")
