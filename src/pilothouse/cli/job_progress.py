"""How far a Job is, and in plain words why it failed: decided from its objects, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.cli.progress import Progress, Trouble, of_pod
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod


def of_job(job: Job, pods: Iterable[Pod]) -> Progress:
    """How far a Job is; complete counts as ready, and so does suspended: there is nothing to wait for."""
    spec, status = job.spec, job.status
    wanted = 1 if spec.completions is None else spec.completions
    done = min(status.succeeded, wanted)
    conditions = {c.type: c for c in status.conditions if c.status == "True"}
    own = [pod for pod in pods if (owner := pod.controller()) is not None and owner.uid == job.metadata.uid]
    failure = conditions.get("Failed") or conditions.get("FailureTarget")
    if "Complete" in conditions:
        return Progress("ready", done, wanted, "complete")
    if failure is not None:
        troubles = tuple(_last_failures(own))
        text = f"{failure.reason}: {failure.message}"
        return Progress("failed", done, wanted, text, troubles, final="Failed" in conditions)
    if spec.suspend:
        return Progress("ready", done, wanted, "suspended")
    troubles = tuple(
        trouble for pod in own if pod.status.phase not in ("Failed", "Succeeded") for trouble in of_pod(pod)
    )
    lasting = next((trouble for trouble in troubles if trouble.lasting), None)
    if lasting is not None:
        return Progress("failed", done, wanted, f"{lasting.reason}: {lasting.message}", troubles)
    return Progress("waiting", done, wanted, _counts(job, wanted), (*troubles, *_last_failures(own)))


def _counts(job: Job, wanted: int) -> str:
    status = job.status
    if status.start_time is None:
        return "waiting for the controller"
    text = f"{status.succeeded} of {wanted} pods succeeded, {status.active} run"
    return f"{text}, {status.failed} failed" if status.failed else text


def _last_failures(pods: list[Pod]) -> list[Trouble]:
    """The pod that failed last: the others mostly failed for the same reason."""
    failed = [pod for pod in pods if pod.status.phase == "Failed"]
    if not failed:
        return []
    pod = max(failed, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.name))
    troubles = []
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        ended = status.state.terminated if status.state is not None else None
        if ended is not None and ended.exit_code:
            how = f"it ended with exit code {ended.exit_code}" + (f": {ended.message.strip()}" if ended.message else "")
            reason = ended.reason or "Error"
            troubles.append(Trouble(reason, how, pod.name, status.name, lasting=True, wants_log=True))
    return troubles or of_pod(pod)
