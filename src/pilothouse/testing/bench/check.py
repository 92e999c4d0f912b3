"""`scripts/bench check`: how fast `pilothouse check` judges generated manifests, where the time goes; the door's cost.

Beside checkov (from PyPI) in the same run, where it is installed.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pilothouse.testing.bench.door import door_figures
from pilothouse.testing.bench.report import Figure

SIZES = (600, 6_000)
_CHECKOV_LIMIT = 600.0
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
shipped_evaluator()
ready = time.perf_counter()
manifests = read_sources([sys.argv[1]]).manifests
read = time.perf_counter()
judge([Item(m.tree, m.file, m.line_of) for m in manifests])
print(ready - started, read - ready, time.perf_counter() - read)
"""


def check_figures() -> list[Figure]:
    """Measures each size; needs no root and leaves nothing behind."""
    figures: list[Figure] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="ph-bench-check-") as folder:
            objects = _generate(Path(folder), size)
            figures += _measure(Path(folder), objects)
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


def _measure(folder: Path, objects: int) -> list[Figure]:
    name = f"{objects} objects"
    took = _seconds([sys.executable, "-c", _COMMAND, "check", str(folder), "-o", "json"])
    phases = subprocess.run([sys.executable, "-c", _PHASES, str(folder)], capture_output=True, text=True, check=True)
    start, read, judged = (float(part) for part in phases.stdout.split())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    figures = [
        Figure(f"{name}: whole command", took, "s", note=f"{objects / took:.0f} objects/s"),
        Figure(f"{name}: importing, compiling checks", start, "s"),
        Figure(f"{name}: reading with positions", read, "s", note=f"{read / objects * 1e6:.0f} µs an object"),
        Figure(f"{name}: judging", judged, "s", note=f"{judged / objects * 1e6:.0f} µs an object"),
        Figure(f"{name}: memory at most", peak, "MB"),
    ]
    return figures + _checkov(folder, name, took)


def _checkov(folder: Path, name: str, ours: float) -> list[Figure]:
    program = shutil.which("checkov")
    if program is None:
        return []
    theirs = _seconds([program, "-d", str(folder), "--framework", "kubernetes", "--quiet", "--compact"])
    aim = 5.0 if name.startswith(f"{SIZES[0]} ") else 50.0
    return [
        Figure(f"{name}: checkov takes so many times as long", theirs / ours, "times", aim, True, f"{theirs:.1f} s")
    ]


def _seconds(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_CHECKOV_LIMIT, check=False)
    return time.perf_counter() - started
