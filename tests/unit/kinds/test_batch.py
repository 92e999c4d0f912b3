"""Jobs and CronJobs: defaults, what is refused, what may change, columns."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pilothouse.kinds.batch import cron_job, job
from pilothouse.kinds.batch.indexes import format_indexes, parse_indexes
from pilothouse.machinery.objects import Obj

from .trees import REMOVED, changed, container, defaulted, faults

TEMPLATE: Obj = {"spec": {"restartPolicy": "Never", "containers": [container()]}}


def made(tree: Obj) -> Obj:
    """As the API server stores it at creation."""
    result = defaulted(job.KIND, tree)
    job.KIND.prepare_create(result)
    return result


def work(**spec: Any) -> Obj:
    meta = {"name": "work", "namespace": "shop", "uid": "u"}
    return {"metadata": meta, "spec": {"template": copy.deepcopy(TEMPLATE), **spec}}


def tick(**spec: Any) -> Obj:
    template = {"spec": {"template": copy.deepcopy(TEMPLATE)}}
    spec = {"schedule": "*/5 * * * *", "jobTemplate": template, **spec}
    return {"metadata": {"name": "tick", "namespace": "shop"}, "spec": spec}


def job_faults(tree: Obj) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in job.KIND.validate(made(tree))]


def test_job_defaults() -> None:
    spec = made(work())["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"], spec["podReplacementPolicy"]) == (
        "NonIndexed",
        False,
        "TerminatingOrFailed",
    )
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": "u",
        "batch.kubernetes.io/job-name": "work",
        "controller-uid": "u",
        "job-name": "work",
    }
    assert "completions" not in made(work(parallelism=3))["spec"]
    assert made(work(completionMode="Indexed", backoffLimitPerIndex=1))["spec"]["backoffLimit"] == 2**31 - 1
    assert job_faults(work()) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.parallelism", -1, "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
        (
            "spec.template.spec.restartPolicy",
            "Always",
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            "spec.completionMode",
            "Sorted",
            'spec.completionMode: Unsupported value: "Sorted": supported values: "Indexed", "NonIndexed"',
        ),
        (
            "spec.backoffLimitPerIndex",
            1,
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            "spec.maxFailedIndexes",
            1,
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
        ),
        (
            "spec.selector",
            {"matchLabels": {"app": "x"}},
            "spec.template.metadata.labels: Invalid value: "
            '{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"work","controller-uid":"u",'
            '"job-name":"work"}: `selector` does not match template `labels`',
        ),
        (
            "spec.podFailurePolicy",
            {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]},
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to '
            "be set",
        ),
        (
            "spec.podFailurePolicy",
            {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [0]}}]},
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            "spec.successPolicy",
            {"rules": [{"succeededCount": 1}]},
            'spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode',
        ),
        (
            "spec.template.metadata",
            {"labels": {"job-name": "other"}},
            "spec.template.metadata.labels[job-name]: Invalid value: "
            '{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"work","controller-uid":"u",'
            '"job-name":"other"}: must be \'work\'',
        ),
    ],
)
def test_what_a_job_may_not_be(path: str, value: Any, expected: str) -> None:
    assert expected in job_faults(changed(work(), path, value))


def test_an_indexed_jobs_rules() -> None:
    assert job_faults(work(completionMode="Indexed", parallelism=1)) == [
        "spec.completions: Required value: when completion mode is Indexed"
    ]
    rules = [{"succeededIndexes": "0-9"}, {"succeededIndexes": "0", "succeededCount": 2}, {}]
    told = job_faults(work(completionMode="Indexed", completions=3, successPolicy={"rules": rules}))
    assert told == [
        'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0-9": error parsing succeededIndexes: too large '
        'index: "3"',
        "spec.successPolicy.rules[1].succeededCount: Invalid value: 2: must be less than or equal to 1 (the number of "
        "indexes in the specified succeededIndexes field)",
        "spec.successPolicy.rules[2]: Required value: at least one of succeededCount or succeededIndexes must be "
        "specified",
    ]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("spec.parallelism", 5, ""),
        ("spec.suspend", True, ""),
        ("spec.ttlSecondsAfterFinished", 5, ""),
        ("spec.completions", 5, "spec.completions"),
        ("spec.selector", {"matchLabels": {"a": "b"}}, "spec.selector"),
        ("spec.template.spec.containers.0.image", "other:1", "spec.template"),
        ("spec.template.spec.nodeSelector", {"a": "b"}, "spec.template"),
        ("spec.managedBy", "example.com/queue", "spec.managedBy"),
    ],
)
def test_what_of_a_job_may_change(path: str, value: Any, field: str) -> None:
    old = made(work())
    assert {cause.field for cause in job.KIND.validate(changed(old, path, value), old)} == ({field} if field else set())


def test_a_suspended_job_may_be_placed_elsewhere() -> None:
    old = made(work(suspend=True))
    assert job.KIND.validate(changed(old, "spec.template.spec.nodeSelector", {"a": "b"}), old) == []
    old["status"] = {"startTime": "2026-01-01T00:00:00Z"}
    assert job.KIND.validate(changed(old, "spec.template.spec.nodeSelector", {"a": "b"}), old)


def test_an_elastic_indexed_job() -> None:
    old = made(work(completionMode="Indexed", completions=3, parallelism=3))
    both = changed(changed(old, "spec.completions", 5), "spec.parallelism", 5)
    assert job.KIND.validate(both, old) == []
    (cause,) = job.KIND.validate(changed(old, "spec.completions", 5), old)
    assert cause.message.endswith("can only be modified in tandem with spec.parallelism")


def test_job_columns() -> None:
    tree = made(work(completions=3))
    tree["status"] = {
        "succeeded": 1,
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:05Z",
        "conditions": [{"type": "Complete", "status": "True"}],
    }
    cells = {column.name: column.value(tree) for column in job.KIND.columns}
    assert (cells["Status"], cells["Completions"], cells["Duration"]) == ("Complete", "1/3", "65s")
    assert cells["Selector"] == "batch.kubernetes.io/controller-uid=u"


def test_cron_job_defaults_and_columns() -> None:
    tree = defaulted(cron_job.KIND, tick())
    spec = tree["spec"]
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert faults(cron_job.KIND, tick()) == []
    cells = {column.name: column.value(tree) for column in cron_job.KIND.columns}
    assert [cells[key] for key in ("Schedule", "Timezone", "Suspend", "Active", "Last Schedule")] == [
        "*/5 * * * *",
        "<none>",
        "False",
        0,
        "<none>",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.schedule", REMOVED, "spec.schedule: Required value"),
        (
            "spec.schedule",
            "* * * *",
            'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]',
        ),
        (
            "spec.schedule",
            "TZ=UTC * * * * *",
            'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone '
            "field instead",
        ),
        (
            "spec.timeZone",
            "Mars/Olympus",
            'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus',
        ),
        ("spec.timeZone", "", 'spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string'),
        (
            "spec.concurrencyPolicy",
            "Queue",
            'spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"',
        ),
        ("metadata.name", "x" * 53, f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters'),
        (
            "spec.jobTemplate.spec.selector",
            {"matchLabels": {"a": "b"}},
            'spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be '
            "auto-generated",
        ),
        (
            "spec.jobTemplate.spec.template.spec.restartPolicy",
            "Always",
            'spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
    ],
)
def test_what_a_cron_job_may_not_be(path: str, value: Any, expected: str) -> None:
    assert faults(cron_job.KIND, changed(tick(), path, value)) == [expected]


@pytest.mark.parametrize(("text", "indexes"), [("", []), ("0", [0]), ("1,3-5,7", [1, 3, 4, 5, 7]), ("0,1", [0, 1])])
def test_indexes(text: str, indexes: list[int]) -> None:
    assert sorted(parse_indexes(text, 100)) == indexes
    assert format_indexes(indexes) == text


def test_bad_indexes() -> None:
    with pytest.raises(ValueError, match="non-increasing order, previous: 3, current: 2"):
        parse_indexes("3,2", 10)
    with pytest.raises(ValueError, match="cannot convert"):
        parse_indexes("a-3", 10)
