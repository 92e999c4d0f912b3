"""`scripts/bench check`: how fast `pilothouse check` judges generated manifests, where the time goes; the door's cost.

Beside checkov in the same run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pilothouse.testing.bench.checkov import Installed, checkov
from pilothouse.testing.bench.door import door_figures
from pilothouse.testing.bench.report import Figure

SIZES = (600, 6_000)
_LIMIT_SECONDS = 600.0
_WORKLOAD = """\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: app, namespace: team-{n}}}
---
apiVersion: apps/v1
kind: {kind}
metadata:
  name: app
  namespace: team-{n}
  labels: {{app.kubernetes.io/name: app}}
spec:
  replicas: 2
  serviceName: app
  selector:
    matchLabels: {{app.kubernetes.io/name: app}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: app}}
    spec:
      serviceAccountName: app
      containers:
        - name: web
          image: registry.example/web:{n}
          ports:
            - {{name: http, containerPort: 8080}}
          readinessProbe:
            httpGet: {{path: /readyz, port: http}}
          resources:
            requests: {{cpu: 100m, memory: 64Mi}}
          securityContext:
            privileged: {privileged}
            allowPrivilegeEscalation: false
        - name: side
          image: registry.example/side
---
apiVersion: v1
kind: Service
metadata: {{name: app, namespace: team-{n}}}
spec:
  selector: {{app.kubernetes.io/name: app}}
  ports:
    - {{name: http, port: 80, targetPort: http}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: app, namespace: team-{n}}}
data: {{level: info, title: Team {n}}}
"""
_COMMAND = "from pilothouse.cli.main import main; main()"
_PHASES = """\
import gc, sys, time
gc.disable()
started = time.perf_counter()
from pilothouse.cli.sources import read_sources
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import judge, shipped_evaluator
from pilothouse.guard.report.document import Outcome
from pilothouse.guard.report.json import json_text
shipped_evaluator()
ready = time.perf_counter()
manifests = read_sources([sys.argv[1]]).manifests
read = time.perf_counter()
report = judge([Item(m.tree, m.file, m.line_of) for m in manifests])
judged = time.perf_counter()
json_text(Outcome(report))
print(ready - started, read - ready, judged - read, time.perf_counter() - judged)
"""


def check_figures() -> list[Figure]:
    """Measures each size; needs no root and leaves nothing behind."""
    figures: list[Figure] = []
    took: list[float] = []
    with checkov() as other:
        for size in SIZES:
            with tempfile.TemporaryDirectory(prefix="ph-bench-check-") as folder:
                objects = _generate(Path(folder), size)
                ours = _ran([sys.executable, "-c", _COMMAND, "check", folder, "-o", "json"])
                took.append(ours.seconds)
                figures += _of_ours(Path(folder), objects, ours)
                figures.append(_beside(other, folder, objects, ours))
    growth = took[-1] / took[0]
    figures.append(Figure("ten times the objects: so many times as long", growth, "times", SIZES[-1] / SIZES[0]))
    return figures + door_figures()


def _generate(folder: Path, size: int) -> int:
    """Writes four objects a file, one workload of three with a mistake; the number of objects."""
    files = size // 4
    for number in range(files):
        kind = "StatefulSet" if number % 3 == 0 else "Deployment"
        text = _WORKLOAD.format(n=number, kind=kind, privileged="true" if number % 3 == 1 else "false")
        if kind == "Deployment":
            text = text.replace("  serviceName: app\n", "")
        (folder / f"{number}.yaml").write_text(text)
    return files * 4


def _of_ours(folder: Path, objects: int, ours: _Run) -> list[Figure]:
    name = f"{objects} objects"
    phases = subprocess.run([sys.executable, "-c", _PHASES, str(folder)], capture_output=True, text=True, check=True)
    start, read, judged, written = (float(part) for part in phases.stdout.split())
    return [
        Figure(f"{name}: whole command", ours.seconds, "s", note=f"{objects / ours.seconds:.0f} objects/s"),
        Figure(f"{name}: importing, compiling checks", start, "s"),
        Figure(f"{name}: reading with positions", read, "s", note=f"{read / objects * 1e6:.0f} µs an object"),
        Figure(f"{name}: judging", judged, "s", note=f"{judged / objects * 1e6:.0f} µs an object"),
        Figure(f"{name}: writing the report", written, "s"),
        Figure(f"{name}: memory at most", ours.megabytes, "MB"),
    ]


def _beside(other: Installed, folder: str, objects: int, ours: _Run) -> Figure:
    """How many times as long checkov takes; at least so many where it was ended."""
    name, aim = f"{objects} objects: checkov takes so many times as long", 5.0 if objects <= SIZES[0] else 50.0
    if not other.command:
        return Figure(name, 0.0, "times", note=other.note)
    theirs = _ran([*other.command, folder])
    ended = " at least: it was ended" if theirs.ended else ""
    note = f"{other.note}: {theirs.seconds:.1f} s{ended}, {theirs.megabytes:.0f} MB"
    return Figure(name, theirs.seconds / ours.seconds, "times", aim, True, note)


class _Run(NamedTuple):
    """One run of a command: how long, its memory at most, and whether it was ended since it took too long."""

    seconds: float
    megabytes: float
    ended: bool


def _ran(command: Sequence[str]) -> _Run:
    started = time.perf_counter()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    limit = threading.Timer(_LIMIT_SECONDS, os.killpg, (child.pid, signal.SIGKILL))
    limit.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)  # of this child alone, which no module tells
    finally:
        limit.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    ended = child.returncode == -signal.SIGKILL
    return _Run(time.perf_counter() - started, usage.ru_maxrss / 1024, ended)
