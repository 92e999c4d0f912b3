"""Job: pods that run until so many of them have succeeded."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from pilothouse.kinds.apps.rules import selector_columns
from pilothouse.kinds.batch.job_rules import check_job_spec, check_job_update
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, human_duration, now
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section, shown
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource, parse_timestamp
from pilothouse.machinery.selectors import from_label_selector

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of an indexed Job's pod."""
TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
MANAGED_HERE = "kubernetes.io/job-controller"
"""`spec.managedBy` of Jobs that this engine's controller looks after; so are those without one."""


class PodFailurePolicyOnExitCodesRequirement(View):
    container_name: str | None = None
    operator: str = ""
    values: list[int] = []


class PodFailurePolicyOnPodConditionsPattern(View):
    type: str = ""
    status: str = ""


class PodFailurePolicyRule(View):
    action: str = ""
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = None
    on_pod_conditions: list[PodFailurePolicyOnPodConditionsPattern] = []


class PodFailurePolicy(View):
    rules: list[PodFailurePolicyRule] = []


class SuccessPolicyRule(View):
    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class SuccessPolicy(View):
    rules: list[SuccessPolicyRule] = []


class JobSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is. `completions` None means: until one succeeds."""

    parallelism: int | None = None
    completions: int | None = None
    active_deadline_seconds: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    success_policy: SuccessPolicy | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: Obj = {}
    ttl_seconds_after_finished: int | None = None
    completion_mode: str = "NonIndexed"
    suspend: bool = False
    pod_replacement_policy: str = ""
    managed_by: str | None = None


class UncountedTerminatedPods(View):
    """Uids of ended pods that the counters do not hold yet; their pods keep the finalizer until this is stored."""

    succeeded: list[str] = []
    failed: list[str] = []


class JobStatus(View):
    conditions: list[Condition] = []
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None


class Job(Object):
    resource: ClassVar[Resource] = Resource("batch", "v1", "Job", "jobs", True)

    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)


_NO_LIMIT = 2**31 - 1


def _defaults(job: Obj) -> None:
    spec = job.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else _NO_LIMIT)
    template = spec.setdefault("template", {})
    default_template(template)
    labels = section(section(template, "metadata"), "labels")
    meta = job.setdefault("metadata", {})
    if labels and not meta.get("labels"):
        meta["labels"] = dict(labels)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = spec.get("podFailurePolicy")
    for rule in section(spec, "podFailurePolicy").get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")


def _on_create(job: Obj) -> None:
    """Gives the Job a selector of its own, unless its author brings one."""
    spec, meta = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key, value in _own_labels(meta).items():
        labels.setdefault(key, value)
    spec.setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, meta.get("uid") or "")


def _own_labels(meta: Obj) -> dict[str, str]:
    """The labels of a Job's pods, in today's names and those before 1.27."""
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    return {CONTROLLER_UID: uid, JOB_NAME: name, "controller-uid": uid, "job-name": name}


def _rules(job: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(job, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    if before is None:
        _check_selector(job, problems)
        check_job_spec(spec, "spec", problems)
        _check_host_name(job, problems)
        return
    selector_and_template = ("selector", "template")
    if any(spec.get(key) != before.get(key) for key in spec.keys() | before.keys() if key not in selector_and_template):
        check_job_spec(spec, "spec", problems, template=False)
    started = section(old or {}, "status").get("startTime") is not None
    check_job_update(spec, before, "spec", problems, started=started)


def _check_selector(job: Obj, problems: Problems) -> None:
    spec, meta = section(job, "spec"), section(job, "metadata")
    selector = spec.get("selector")
    if selector is None:
        problems.required("spec.selector")
        return
    labels = section(section(section(spec, "template"), "metadata"), "labels")
    try:
        parsed = from_label_selector(selector)
    except ValueError as error:
        problems.invalid("spec.selector", selector, str(error))
        return
    if not spec.get("manualSelector"):
        expected = _own_labels(meta)
        for key, value in expected.items():
            path = f"spec.template.metadata.labels[{key}]"
            if key not in labels:
                problems.required(path, f"must be '{value}'")
            elif labels[key] != value:
                problems.invalid(path, labels, f"must be '{value}'")
        if not parsed.matches(expected):
            problems.invalid("spec.selector", selector, "`selector` not auto-generated")
    if not parsed.matches(labels):
        problems.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _check_host_name(job: Obj, problems: Problems) -> None:
    """An indexed Job's pods are named after it and their index, and the last name must fit too."""
    spec, name = section(job, "spec"), section(job, "metadata").get("name") or ""
    if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > 0:
        last = f"{name}-{spec['completions'] - 1}"
        if names.dns1123_label(last):
            problems.invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {last}")


_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _state(job: Obj) -> str:
    conditions = section(job, "status").get("conditions") or ()
    true = {condition.get("type") for condition in conditions if condition.get("status") == "True"}
    if section(job, "metadata").get("deletionTimestamp"):
        true.add("")
    return next((text for key, text in _STATES if key in true), "Running")


def _completions(job: Obj) -> str:
    spec, done = section(job, "spec"), section(job, "status").get("succeeded", 0)
    wanted, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(job: Obj) -> str:
    status = section(job, "status")
    if not status.get("startTime"):
        return ""
    end = parse_timestamp(status["completionTime"]) if status.get("completionTime") else now()
    return human_duration((end - parse_timestamp(status["startTime"])).total_seconds())


def _fields(job: Obj) -> dict[str, Any]:
    return {"status.successful": shown(section(job, "status").get("succeeded", 0))}


KIND = Kind(
    view=Job,
    categories=("all",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Status", _state, "How the Job stands."),
        Column("Completions", _completions, "Pods that have succeeded, of those wanted."),
        Column("Duration", _duration, "Time from its start to its completion, or until now."),
        AGE,
        *container_columns("spec", "template"),
        *selector_columns(),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
    on_create=_on_create,
    fields=_fields,
)
