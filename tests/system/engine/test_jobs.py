"""Jobs and CronJobs with real containers, by kubectl and by `deploy`."""

from __future__ import annotations

import json

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  {spec}
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: {image}
          args: ["-c", "{command}"]
"""
CRON_JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata: {{name: tick}}
spec:
  schedule: "* * * * *"
  timeZone: Europe/Berlin
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
            - name: main
              image: {image}
              args: ["-c", "echo tick"]
"""


def job(images: Images, name: str, command: str, spec: str = "parallelism: 1") -> str:
    return JOB.format(name=name, image=images.tools, command=command, spec=spec)


def reasons(machine: Machine, name: str) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in machine.get("job", name)["status"].get("conditions", ())}


def test_a_job_completes(engine: Machine, images: Images) -> None:
    engine.apply(job(images, "hello", "echo hello from $HOSTNAME"))
    engine.kubectl("wait", "--for=condition=complete", "job/hello", "--timeout=30s")
    assert engine.kubectl("logs", "job/hello").startswith("hello from hello-")
    assert engine.kubectl("get", "job", "hello", "--no-headers").split()[:3] == ["hello", "Complete", "1/1"]
    described = engine.kubectl("describe", "job", "hello")
    assert "Created pod: hello-" in described
    assert "Job completed" in described
    engine.kubectl("delete", "job", "hello")
    until(lambda: not engine.pods("-l", "job-name=hello"), "its pod is gone")


def test_a_job_fails(engine: Machine, images: Images) -> None:
    engine.apply(job(images, "broken", "exit 7", "backoffLimit: 0"))
    engine.kubectl("wait", "--for=condition=failed", "job/broken", "--timeout=30s")
    assert reasons(engine, "broken")["Failed"] == "BackoffLimitExceeded"
    assert engine.get("job", "broken")["status"]["failed"] == 1


def test_a_deadline_ends_what_runs(engine: Machine, images: Images) -> None:
    spec = "activeDeadlineSeconds: 2"
    engine.apply(job(images, "slow", "trap 'exit 0' TERM; while busybox sleep 0.1; do :; done", spec))
    engine.kubectl("wait", "--for=condition=failed", "job/slow", "--timeout=30s")
    assert reasons(engine, "slow")["Failed"] == "DeadlineExceeded"
    assert not engine.pods("-l", "job-name=slow", "--field-selector=status.phase=Running")


def test_indexes_know_themselves_and_the_engine_may_die(engine: Machine, images: Images) -> None:
    command = "busybox sleep 1; echo $JOB_COMPLETION_INDEX on $(busybox hostname)"
    engine.apply(job(images, "parts", command, "completionMode: Indexed\n  completions: 4\n  parallelism: 2"))
    until(lambda: engine.get("job", "parts")["status"].get("completedIndexes"), "the first is done")
    engine.kill("control")
    until(lambda: reasons(engine, "parts").get("Complete"), "the Job is complete")
    status = engine.get("job", "parts")["status"]
    assert (status["completedIndexes"], status["succeeded"], status.get("failed", 0)) == ("0-3", 4, 0)
    said = set(engine.kubectl("logs", "-l", "job-name=parts").splitlines())
    assert said == {f"{index} on parts-{index}" for index in range(4)}


def test_a_cron_job_ticks_each_minute(engine: Machine, images: Images) -> None:
    engine.apply(CRON_JOB.format(image=images.tools))
    engine.kubectl("create", "job", "now", "--from=cronjob/tick")
    engine.kubectl("wait", "--for=condition=complete", "job/now", "--timeout=30s")
    assert engine.kubectl("logs", "job/now") == "tick\n"
    until(lambda: engine.get("cronjob", "tick")["status"].get("lastScheduleTime"), "it has ticked", 90)
    names = [item["metadata"]["name"] for item in engine.get("jobs")["items"]]
    assert sum(name.startswith("tick-") for name in names) == 1
    engine.kubectl("delete", "cronjob", "tick")


def test_deploy_waits_for_jobs(engine: Machine, images: Images) -> None:
    done = job(images, "migrate", "echo migrated")
    assert "job/migrate" in engine.pilothouse("deploy", "-", "--timeout", "30", stdin=done)
    # Deployed once more, nothing changes.
    engine.pilothouse("deploy", "-", "--timeout", "30", stdin=done)
    failing = job(images, "refuse", "echo no such table; exit 3", "backoffLimit: 0")
    told = engine.pilothouse("deploy", "-", "--timeout", "30", stdin=failing, code=1)
    assert "BackoffLimitExceeded" in told
    assert "no such table" in told
    report = json.loads(engine.pilothouse("deploy", "-", "--timeout", "30", "-o", "json", stdin=done))
    assert [(w["kind"], w["name"], w["state"]) for w in report["workloads"]] == [("Job", "migrate", "ready")]
