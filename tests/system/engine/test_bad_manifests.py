"""What `deploy` says about manifests that cannot run: what is wrong, where, and what to do; by its exit code too."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine

pytestmark = pytest.mark.system

NOT_READY, REFUSED, TIMED_OUT = 1, 2, 3


def deployment(name: str, image: str, container: str = "", spec: str = "") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      {spec}
      containers:
        - name: main
          image: {image}
          {container}
"""


def deploy(engine: Machine, manifest: str, code: int, *words: str) -> str:
    """Deploys a file; returns what was said."""
    path = engine.root / "app.yaml"
    path.write_text(manifest)
    return engine.pilothouse("deploy", str(path), *words, code=code)


def test_yaml_that_does_not_parse(engine: Machine) -> None:
    said = deploy(engine, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\ndata: [", REFUSED)
    assert f"{engine.root / 'app.yaml'}:4:" in said
    assert engine.get("configmaps", "-n", "default")["items"][0]["metadata"]["name"] == "kube-root-ca.crt"


def test_an_unknown_field(engine: Machine, images: Images) -> None:
    said = deploy(engine, deployment("typo", images.tools, "imagePullPolcy: Always"), REFUSED)
    assert "spec.template.spec.containers[0].imagePullPolcy" in said
    assert "imagePullPolicy" in said
    assert f"{engine.root / 'app.yaml'}:16" in said
    assert engine.get("deployments")["items"] == []


def test_a_kind_that_is_not_served(engine: Machine) -> None:
    said = deploy(engine, "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {}\n", REFUSED)
    assert "StatefulSet" in said


def test_a_value_that_is_not_allowed(engine: Machine) -> None:
    manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999}]}\n"
    said = deploy(engine, manifest, REFUSED)
    assert "spec.ports[0].port" in said
    assert "65535" in said


@dataclass
class Verdict:
    """How a `deploy` that goes on beside others ended."""

    process: subprocess.Popen[bytes]
    said: str = ""

    def wait(self) -> int:
        """Its exit code, once it has said all."""
        output, errors = self.process.communicate(timeout=100)
        self.said = (output + errors).decode()
        return self.process.returncode


ABSENT = "127.0.0.1:5000/test/absent:1"
FAR = ("registry.example.test", "127.0.0.1:5999")


@pytest.fixture(scope="module")
def verdicts(engine: Machine, images: Images) -> dict[str, Verdict]:
    """Deployments that cannot get ready, all under way at once: each takes its time to be given up."""

    def begin(manifest: str, *words: str) -> Verdict:
        process = engine.start(*pilothouse("deploy", "-", "--timeout", "90", *words), stderr=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(manifest.encode())
        process.stdin.close()
        process.stdin = None
        return Verdict(process)

    crash = 'args: ["-c", "echo the harbour is closed; exit 7"]'
    return {
        **{host: begin(deployment(f"far-{number}", f"{host}/app:1")) for number, host in enumerate(FAR)},
        "crash": begin(deployment("crash", images.tools, crash)),
        "report": begin(deployment("report", images.tools, crash), "-o", "json"),
        "absent": begin(deployment("absent", ABSENT)),
    }


def pilothouse(*words: str) -> tuple[str, ...]:
    return (str(Path(__file__).parents[3] / ".venv" / "bin" / "pilothouse"), *words)


@pytest.mark.parametrize("host", FAR)
def test_a_registry_out_of_reach(verdicts: dict[str, Verdict], host: str) -> None:
    """Said at the first try, long before the wait is given up: which host, and how a mirror is set."""
    verdict = verdicts[host]
    assert verdict.process.stdout is not None
    seen = ""
    while "mirror" not in seen:
        line = verdict.process.stdout.readline().decode()
        assert line, seen
        seen += line
    assert verdict.process.poll() is None
    assert host in seen
    assert "hosts.toml" in seen


def test_a_missing_image(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["absent"].wait() == NOT_READY
    assert ABSENT in verdicts["absent"].said
    assert "not found" in verdicts["absent"].said.lower()


def test_a_crash_loop_with_its_last_words(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["crash"].wait() == NOT_READY
    assert "CrashLoopBackOff" in verdicts["crash"].said
    assert "exit code 7" in verdicts["crash"].said
    assert "| the harbour is closed" in verdicts["crash"].said


def test_the_report_for_programs(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["report"].wait() == NOT_READY
    tree = json.loads(verdicts["report"].said)
    assert (tree["ready"], tree["exitCode"]) == (False, NOT_READY)
    assert tree["objects"][0]["outcome"] == "created"
    (workload,) = tree["workloads"]
    assert workload["state"] == "failed"
    assert workload["troubles"][0]["reason"] == "CrashLoopBackOff"
    assert "exit code 7" in workload["troubles"][0]["message"]


def test_a_pod_that_fits_nowhere(engine: Machine, images: Images) -> None:
    container = "resources: {requests: {cpu: 900}}"
    said = deploy(engine, deployment("huge", images.tools, container), TIMED_OUT, "--timeout", "3")
    assert "Insufficient cpu" in said
    assert "0/1 nodes are available" in said


def test_a_node_selector_nobody_matches(engine: Machine, images: Images) -> None:
    spec = "nodeSelector: {disk: fast}"
    said = deploy(engine, deployment("picky", images.tools, spec=spec), TIMED_OUT, "--timeout", "3")
    assert "didn't match Pod's node affinity/selector" in said


def test_a_reference_to_nothing(engine: Machine, images: Images) -> None:
    container = "envFrom: [{configMapRef: {name: nowhere}}]"
    said = deploy(engine, deployment("unmet", images.tools, container), TIMED_OUT, "--timeout", "5")
    assert 'configmap "nowhere" not found' in said


def test_an_engine_that_does_not_run(engine: Machine, images: Images) -> None:
    engine.pilothouse("stop")
    said = deploy(engine, deployment("late", images.tools), REFUSED)
    assert "pilothouse status" in said
    assert "down" in engine.pilothouse("status", code=1)
