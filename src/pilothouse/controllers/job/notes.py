"""What this controller has done and the informers have not shown yet."""

from __future__ import annotations

from pilothouse.controllers.job.pods import is_tracked
from pilothouse.controllers.pending import Pending
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod


class Notes:
    """Pods awaited, pods whose finalizer is gone, and Jobs as last written: by the uid of the Job."""

    def __init__(self) -> None:
        self.pending = Pending()
        self._released: dict[str, set[str]] = {}
        self._written: dict[str, Job] = {}
        self._known: set[str] = set()

    def knows(self, uid: str) -> bool:
        """Whether the Job was compared with the API since this controller started (see `compare`)."""
        return uid in self._known

    def compare(self, job: Job, live: list[Pod], seen: list[Pod]) -> None:
        """Takes in how the informer's pods differ from the API's: an earlier controller's last changes."""
        uid = job.metadata.uid
        self._known.add(uid)
        by_uid = {pod.metadata.uid: pod for pod in live}
        shown = {pod.metadata.uid for pod in seen}
        for pod in live:
            if pod.metadata.uid not in shown:
                self.pending.creating(uid, pod.key)
        for pod in seen:
            now = by_uid.get(pod.metadata.uid)
            if is_tracked(pod) and (now is None or not is_tracked(now)):
                self.releasing(uid, pod.metadata.uid)

    def latest(self, job: Job) -> Job:
        """The Job as the informer shows it, or as it was last written here if that is newer."""
        written = self._written.get(job.metadata.uid)
        if written is None:
            return job
        if int(written.metadata.resource_version) <= int(job.metadata.resource_version):
            del self._written[job.metadata.uid]
            return job
        return written

    def wrote(self, job: Job) -> None:
        self._written[job.metadata.uid] = job

    def releasing(self, job: str, pod: str) -> None:
        """To be called before the request: the informer may be faster than its answer."""
        self._released.setdefault(job, set()).add(pod)

    def not_released(self, job: str, pod: str) -> None:
        self._released.get(job, set()).discard(pod)

    def released(self, job: str) -> frozenset[str]:
        return frozenset(self._released.get(job, ()))

    def seen(self, job: str, pod: Pod, *, gone: bool) -> None:
        """The informer shows the pod as it is now."""
        if gone or not is_tracked(pod):
            self.not_released(job, pod.metadata.uid)
        if gone or pod.metadata.deletion_timestamp is not None:
            self.pending.gone(job, pod.key)
        else:
            self.pending.seen(job, pod.key)

    def forget(self, job: str) -> None:
        self.pending.forget(job)
        self._released.pop(job, None)
        self._written.pop(job, None)
        self._known.discard(job)
