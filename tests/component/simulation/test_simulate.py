"""`pilothouse simulate`: the real API, controllers and scheduler over virtual nodes, and what the command says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from pilothouse.cli.simulate import run_simulate

SETTING = """
apiVersion: simulation.pilothouse.dev/v1
kind: Simulation
metadata: {name: s}
nodes:
  - {name: small, count: 70, cpu: "2", memory: 4Gi, zones: [a, b]}
"""
WORKLOADS = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 100
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: web, resources: {requests: {cpu: 500m, memory: 256Mi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  completions: 3
  parallelism: 3
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: job, image: job, resources: {requests: {cpu: 100m}}}
"""
TOO_BIG = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: big}
spec:
  replicas: 2
  selector: {matchLabels: {app: big}}
  template:
    metadata: {labels: {app: big}}
    spec:
      containers:
        - {name: big, image: big, resources: {requests: {cpu: "3"}}}
"""


def simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> tuple[int, Any]:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    code = run_simulate([str(file)], "default", 240.0, "json")
    return code, json.loads(capsys.readouterr().out)


def test_workloads_get_ready_on_virtual_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = simulated(tmp_path, capsys, SETTING + WORKLOADS)
    assert (code, report["unplaced"], report["refused"]) == (0, [], [])
    assert report["placed"] == report["running"] == 103
    workloads = {each["name"]: (each["ready"], each["state"]) for each in report["workloads"]}
    assert workloads == {"web": (100, "ready"), "once": (3, "ready")}
    (small,) = report["types"]
    assert small["nodes"] == 70
    assert small["used"] >= 50


def test_what_does_not_fit_is_told_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = simulated(tmp_path, capsys, SETTING + TOO_BIG)
    assert code == 1
    (entry,) = report["unplaced"]
    assert entry["pods"] == 2
    assert entry["reason"].startswith("0/70 nodes are available: 70 Insufficient cpu")


def test_a_refused_manifest_is_told_and_the_rest_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = simulated(tmp_path, capsys, SETTING + WORKLOADS.replace("completions: 3", "completions: -1"))
    assert code == 2
    assert report["running"] == 100
    assert "completions" in str(report["refused"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WORKLOADS, "there must be one object of kind Simulation"),
        (SETTING.replace("cpu:", "cpus:"), "s.yaml:2: "),
        ("a: [", "s.yaml:2:1"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(typer.Exit) as ended:
        run_simulate([str(file)], "default", 10.0, None)
    assert ended.value.exit_code == 2
    assert said in capsys.readouterr().err
