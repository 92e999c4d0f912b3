"""The labels that pods of one workload share, whichever pod and whichever version of it."""

from __future__ import annotations

from collections.abc import Mapping

VOLATILE = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "job-name",
        "app.kubernetes.io/version",
        "helm.sh/chart",
    }
)
"""Labels that controllers give to tell pods apart, and those that change with a release."""


def workload_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """The labels without the volatile ones, by name."""
    return {key: value for key, value in sorted((labels or {}).items()) if key not in VOLATILE}
