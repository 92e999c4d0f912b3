"""What people do with kubectl, done with the stock kubectl on the running example."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from image_cache import Images
from machine import Machine, until
from tools import tools

pytestmark = pytest.mark.system

TOOLS = """\
apiVersion: v1
kind: Pod
metadata: {{name: tools, labels: {{app: tools}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "trap 'exit 0' TERM; n=0; while sleep 0.1; do n=$((n+1)); echo line $n; done"]
"""


@pytest.fixture(scope="module")
def pod(shop: Machine, images: Images) -> Machine:
    """The machine, with a pod `tools` beside the example that writes ten lines a second."""
    shop.apply(TOOLS.format(image=images.tools))
    shop.kubectl("wait", "pod/tools", "--for=condition=Ready", "--timeout=30s")
    return shop


def test_get(shop: Machine) -> None:
    rows = [line.split() for line in shop.kubectl("get", "deployments", "-n", "shop", "--no-headers").splitlines()]
    assert [row[:4] for row in rows] == [
        ["app", "2/2", "2", "2"],
        ["front", "1/1", "1", "1"],
        ["redis", "1/1", "1", "1"],
    ]
    wide = shop.kubectl("get", "pods", "-n", "shop", "-o", "wide", "--no-headers").splitlines()
    assert len(wide) == 4
    assert all(re.search(r"1/1 +Running .* 10\.244\.\d+\.\d+ +" + shop.name, line) for line in wide)


def test_findings(shop: Machine) -> None:
    shop.kubectl("create", "namespace", "leaky")
    shop.kubectl("label", "namespace", "leaky", "team=plumbers")
    shop.kubectl("create", "service", "clusterip", "nowhere", "--tcp=80:80", "-n", "leaky")
    asked = (
        "get",
        "findings",
        "-A",
        "--field-selector=spec.rule=service-selects-nothing,status.state=open",
        "--no-headers",
    )
    told = until(lambda: shop.kubectl(*asked), "the finding", 60)
    rows = [line.split() for line in told.splitlines()]
    assert [(row[0], row[2], *row[4:6]) for row in rows] == [("leaky", "high", "Service/nowhere", "plumbers")]
    assert "Remedy:" in shop.kubectl("describe", "finding", rows[0][1], "-n", "leaky")
    shown = shop.pilothouse("findings", "--owner", "plumbers", "--rule", "service-selects-nothing")
    assert "leaky/Service/nowhere   owner: plumbers" in shown
    assert "Service/nowhere" in shop.kubectl("get", "--raw", "/console")
    shop.kubectl("delete", "namespace", "leaky", "--timeout=60s")
    until(lambda: not shop.kubectl(*asked, "-l", "pilothouse.io/state=open"), "no open finding", 60)


def test_an_exemption_is_granted_by_somebody_else(shop: Machine) -> None:
    told = shop.pilothouse("namespace", "create", "bank", "--team", "tellers", "--operations", "keepers")
    assert "Operations own what it runs on" in told
    shop.kubectl("create", "service", "clusterip", "till", "--tcp=80:80", "-n", "bank")
    rule = "-l=pilothouse.io/rule=service-selects-nothing"
    name = until(lambda: shop.kubectl("get", "findings", "-n", "bank", rule, "-o", "name"), "the finding", 60)
    name = name.strip().rpartition("/")[2]
    shop.pilothouse("exemption", "request", name, "-n", "bank", "--reason", "it comes later", "--owner", "tellers")
    grant = ("patch", "exemption", name, "-n", "bank", "--subresource=status", "--type=merge")
    approval = '-p={"status":{"approval":"Approved"}}'
    shop.kubectl(*grant, approval, code=1)
    shop.kubectl(*grant, approval, "--as=ann", "--as-group=keepers")
    wanted = ("get", "finding", name, "-n", "bank", "-o", "jsonpath={.status.state}")
    until(lambda: shop.kubectl(*wanted) == "accepted", "an accepted finding", 60)
    assert "keepers" in shop.pilothouse("access", "who-can", "approve", "exemptions", "-n", "bank")
    assert "bank" in shop.pilothouse("access", "paths", "group:tellers-developers", "--to", "secrets")
    until(lambda: "User ann" in shop.pilothouse("access", "last-used"), "ann in the audit log", 30)
    assert "exemptions/status" in shop.pilothouse("access", "least", "user:ann", "--since", "1h")
    shop.kubectl("delete", "namespace", "bank", "--wait=false")


def test_get_watches(shop: Machine) -> None:
    process = shop.start_kubectl("get", "configmaps", "-w", "-o", "name")
    assert process.stdout is not None
    assert process.stdout.readline() == b"configmap/kube-root-ca.crt\n"
    shop.kubectl("create", "configmap", "seen")
    assert process.stdout.readline() == b"configmap/seen\n"
    process.kill()


def test_describe_tells_events(shop: Machine) -> None:
    (redis,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")
    said = shop.kubectl("describe", "pod", "-n", "shop", redis["metadata"]["name"])
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert re.search(rf"Normal +{reason} ", said), said
    assert re.search(r"Liveness: +tcp-socket :redis", said)
    assert "ScalingReplicaSet" in shop.kubectl("describe", "deployment", "-n", "shop", "app")
    assert shop.address in shop.kubectl("describe", "node", shop.name)


def test_logs(pod: Machine) -> None:
    assert "the shop is open" in pod.kubectl("logs", "-n", "shop", "deployment/app")
    until(lambda: pod.kubectl("logs", "tools").startswith("line 1\nline 2\nline 3\n"), "lines come")
    assert len(pod.kubectl("logs", "tools", "--tail=3").splitlines()) == 3


def test_logs_are_followed(pod: Machine) -> None:
    process = pod.start_kubectl("logs", "-f", "tools", "--tail=1")
    assert process.stdout is not None
    numbers = [int(process.stdout.readline().split()[1]) for _ in range(8)]
    assert numbers == list(range(numbers[0], numbers[0] + 8))
    process.kill()


def test_exec(pod: Machine) -> None:
    assert pod.kubectl("exec", "tools", "--", "sh", "-c", "echo $((6*7))") == "42\n"
    pod.kubectl("exec", "tools", "--", "sh", "-c", "exit 5", code=5)


@pytest.fixture(params=["WebSocket", "SPDY"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl's streams, as it speaks them now and as it did before 1.31."""
    if request.param == "SPDY":
        for command in ("REMOTE_COMMAND", "PORT_FORWARD"):
            monkeypatch.setenv(f"KUBECTL_{command}_WEBSOCKETS", "false")


@pytest.mark.usefixtures("streams")
def test_exec_with_piped_input_that_ends(pod: Machine) -> None:
    text = "".join(f"{number}\n" for number in range(50_000))
    assert pod.kubectl("exec", "-i", "tools", "--", "busybox", "sha256sum", stdin=text).split()[0] == sha256(text)
    assert pod.kubectl("exec", "-i", "tools", "--", "busybox", "cat", stdin=text) == text


def sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def terminal(machine: Machine, *words: str) -> Iterator[int]:
    """kubectl on a terminal of 40 columns and 11 rows; its other end."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "11", "columns", "40"], stdin=theirs, check=True)
    process = machine.start_kubectl(*words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        yield ours
        process.wait(20)
    finally:
        process.kill()
        os.close(ours)


def read_until(ours: int, pattern: str, seconds: float = 20.0) -> str:
    """What the terminal shows, as soon as it matches."""
    seen, deadline = "", time.monotonic() + seconds
    while not re.search(pattern, seen):
        assert select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0], seen
        try:
            seen += os.read(ours, 4096).decode()
        except OSError as error:
            raise AssertionError(f"the other end closed the terminal after {seen!r}") from error
    return seen


def interrupt(ours: int) -> None:
    """Ctrl-C until the prompt is back: one that comes before the command has begun is the shell's own."""
    seen, deadline = "", time.monotonic() + 20
    while not re.search(r"\$ ", seen):
        assert time.monotonic() < deadline, seen
        os.write(ours, b"\x03")
        while select.select([ours], [], [], 0.5)[0]:
            seen += os.read(ours, 4096).decode()


@pytest.mark.usefixtures("streams")
def test_exec_on_a_terminal(pod: Machine) -> None:
    with terminal(pod, "exec", "-it", "tools", "--", "sh") as ours:
        read_until(ours, r"\$ ")
        os.write(ours, b"busybox stty size; busybox tty\n")
        assert "11 40" in read_until(ours, r"/dev/pts/\d+")
        os.write(ours, b"echo beg''un; busybox sleep 1000\n")
        read_until(ours, "begun")
        interrupt(ours)
        os.write(ours, b"exit\n")


def test_debug_adds_a_container(pod: Machine, images: Images) -> None:
    """The container added sees the target's processes, and the pod's own containers go on."""
    before = pod.starts("-l", "app=tools")
    debug = (
        "debug",
        "-it",
        "tools",
        f"--image={images.tools}",
        "--target=main",
        "--container=look",
    )
    with terminal(pod, *debug, "--", "sh") as ours:
        os.write(ours, b"\n")
        read_until(ours, r"[#$] ")
        os.write(ours, b"busybox cat /proc/1/cmdline; echo; echo e''nd\n")
        assert "trap" in read_until(ours, r"end")
        os.write(ours, b"exit 3\n")

    def ended() -> bool:
        (status,) = pod.get("pod", "tools")["status"]["ephemeralContainerStatuses"]
        return bool(status["state"].get("terminated", {}).get("exitCode") == 3)

    until(ended, "the debugging container has ended")
    assert pod.starts("-l", "app=tools").items() >= before.items()
    assert "look" in pod.kubectl("describe", "pod", "tools")


def test_debug_makes_a_copy(pod: Machine) -> None:
    change = ("--copy-to=tools-copy", "--share-processes", "--container=main")
    pod.kubectl("debug", "tools", *change, "--", "sh", "-c", "while sleep 1; do :; done")
    pod.kubectl("wait", "pod/tools-copy", "--for=condition=Ready", "--timeout=30s")
    assert pod.get("pod", "tools-copy")["spec"]["shareProcessNamespace"] is True
    pod.kubectl("delete", "pod", "tools-copy", "--now")


def test_cp_both_ways(pod: Machine) -> None:
    source, back = pod.root / "there", pod.root / "back"
    source.write_bytes(os.urandom(300_000))
    pod.kubectl("cp", str(source), "tools:/tmp/there")
    pod.kubectl("cp", "tools:/tmp/there", str(back))
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.usefixtures("streams")
def test_port_forward(shop: Machine) -> None:
    process = shop.start_kubectl("port-forward", "-n", "shop", "service/front", "18080:80")
    assert process.stdout is not None
    assert b"18080" in process.stdout.readline()
    for _ in range(3):
        assert "Harbour Shop" in shop.fetch("http://127.0.0.1:18080/")
    process.kill()


def test_top(shop: Machine) -> None:
    def node() -> str:
        return shop.kubectl("top", "nodes", "--no-headers")

    assert shop.name in until(node, "the node's usage is known", 60)
    rows = until(lambda: shop.kubectl("top", "pods", "-n", "shop", "--no-headers").splitlines(), "pods' usage", 60)
    assert len(rows) == 4
    assert all(re.search(r"\d+m +[1-9]\d*Mi$", row.strip()) for row in rows), rows


def test_scale(shop: Machine) -> None:
    for count in (3, 2):
        shop.kubectl("scale", "-n", "shop", "deployment/app", f"--replicas={count}")
        shop.kubectl("rollout", "status", "-n", "shop", "deployment/app", "--timeout=60s", seconds=70)
        ready = shop.get("deployment", "app", "-n", "shop")["status"]["readyReplicas"]
        assert ready == count


def test_rollout(shop: Machine) -> None:
    words = ("-n", "shop", "deployment/app")
    image = shop.get("deployment", "app", "-n", "shop")["spec"]["template"]["spec"]["containers"][0]["image"]
    shop.kubectl("set", "env", *words, "SHOP_TITLE=Second Shop")
    shop.kubectl("rollout", "status", *words, "--timeout=60s", seconds=70)
    until(lambda: "Second Shop" in shop.fetch(f"http://{shop.address}:30080/"), "the second revision answers")
    revisions = shop.kubectl("rollout", "history", *words)
    assert re.search(r"^2 ", revisions, re.MULTILINE), revisions
    shop.kubectl("rollout", "undo", *words)
    shop.kubectl("rollout", "status", *words, "--timeout=60s", seconds=70)
    until(lambda: "Harbour Shop" in shop.fetch(f"http://{shop.address}:30080/"), "the first revision is back")
    shop.kubectl("rollout", "restart", *words)
    shop.kubectl("rollout", "status", *words, "--timeout=60s", seconds=70)
    after = shop.get("deployment", "app", "-n", "shop")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert after == image


def test_apply_changes_and_prunes_nothing_else(pod: Machine, images: Images) -> None:
    manifest = TOOLS.format(image=images.tools)
    assert pod.apply(manifest) == "pod/tools unchanged\n"
    labelled = manifest.replace("app: tools", "app: tools, tier: back")
    assert pod.apply(labelled) == "pod/tools configured\n"
    assert pod.get("pod", "tools")["metadata"]["labels"] == {"app": "tools", "tier": "back"}
    assert "restartCount" in json.dumps(pod.get("pod", "tools")["status"])


def test_what_get_prints_can_be_applied(pod: Machine) -> None:
    """`get -o yaml` of several objects prints a List."""
    pod.kubectl("create", "configmap", "listed")
    printed = pod.kubectl("get", "configmaps", "listed", "kube-root-ca.crt", "-o", "yaml")
    assert "kind: List" in printed
    assert "configmap/listed configured" in pod.apply(printed)


def test_wait_and_delete(shop: Machine, images: Images) -> None:
    shop.apply(TOOLS.format(image=images.tools).replace("name: tools", "name: gone"))
    shop.kubectl("wait", "pod/gone", "--for=condition=Ready", "--timeout=30s")
    waiting = shop.start_kubectl("wait", "pod/gone", "--for=delete", "--timeout=30s")
    assert shop.kubectl("delete", "pod", "gone").startswith('pod "gone" deleted')
    assert waiting.wait(30) == 0
    shop.kubectl("get", "pod", "gone", code=1)


def test_explain(shop: Machine) -> None:
    assert "readOnlyRootFilesystem" in shop.kubectl("explain", "pod.spec.containers.securityContext")


def test_who_may_do_what(shop: Machine) -> None:
    account = "system:serviceaccount:shop:app"
    assert shop.kubectl("auth", "can-i", "list", "secrets", f"--as={account}", "-n", "shop", code=1).startswith("no")
    shop.kubectl("create", "role", "reader", "-n", "shop", "--verb=list", "--resource=secrets")
    shop.kubectl("create", "rolebinding", "reader", "-n", "shop", "--role=reader", "--serviceaccount=shop:app")

    def may() -> bool:
        return "yes" in shop.kubectl("auth", "can-i", "list", "secrets", f"--as={account}", "-n", "shop", code=None)

    until(may, "the role counts")


def test_a_token_is_an_identity(shop: Machine) -> None:
    token = shop.kubectl("create", "token", "-n", "shop", "app").strip()
    config = json.loads(shop.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    path = shop.root / "token.json"
    path.write_text(json.dumps(config))
    said = shop.run(str(tools().kubectl), "--kubeconfig", str(path), "auth", "whoami", "-o", "json")
    assert json.loads(said)["status"]["userInfo"]["username"] == "system:serviceaccount:shop:app"


def test_a_node_is_scraped_as_upstreams_is(pod: Machine) -> None:
    """Through the API server, and at the node itself by whom the cluster allows it."""
    proxy = f"/api/v1/nodes/{pod.name}/proxy"
    assert "kubelet_running_pods" in pod.kubectl("get", "--raw", f"{proxy}/metrics")
    assert 'namespace="shop"' in pod.kubectl("get", "--raw", f"{proxy}/metrics/probes")
    assert json.loads(pod.kubectl("get", "--raw", f"{proxy}/configz"))["kubeletconfig"]["podPidsLimit"] == 4096
    names = {item["metadata"]["name"] for item in json.loads(pod.kubectl("get", "--raw", f"{proxy}/pods"))["items"]}
    assert "tools" in names
    assert "not served through nodes/proxy" in pod.kubectl("get", "--raw", f"{proxy}/exec/default/tools/main", code=1)

    token = pod.kubectl("create", "token", "-n", "shop", "app").strip()
    node = f"https://{pod.address}:10250"

    def scraped(path: str, *words: str) -> str:
        return pod.run("curl", "-sk", "--max-time", "10", *words, node + path)

    bearer = ("-H", f"Authorization: Bearer {token}")
    assert '"code":401' in scraped("/metrics")
    assert "verb=get, resource=nodes, subresource(s)=[metrics]" in scraped("/metrics", *bearer)
    pod.kubectl("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/stats")
    pod.kubectl("create", "clusterrolebinding", "scraper", "--clusterrole=scraper", "--serviceaccount=shop:app")
    until(lambda: "podRef" in scraped("/stats/summary", *bearer), "the node believes it", 60)
    assert '"code":403' in scraped("/pods", *bearer)


def test_a_static_pod_is_seen_and_outlives_its_mirror(shop: Machine, images: Images) -> None:
    folder = shop.data_dir / "static-pods"
    assert folder.stat().st_mode & 0o777 == 0o700
    manifest = TOOLS.format(image=images.tools).replace("name: tools,", "name: static,")
    (folder / "static.yaml").write_text(manifest)
    name = f"static-{shop.name}"
    until(lambda: shop.get("pod", name)["status"]["phase"] == "Running", "its mirror shows that it runs")
    assert "line" in until(lambda: shop.kubectl("logs", name, "--tail=1"), "its log is read")
    assert shop.kubectl("exec", name, "--", "busybox", "echo", "inside").strip() == "inside"
    until(lambda: "Started" in shop.kubectl("describe", "pod", name), "its events are described")
    before = shop.get("pod", name)
    shop.kubectl("delete", "pod", name, "--wait=false")
    after = until(lambda: _other(shop.get("pod", name), before), "the mirror is back")
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert _container(after) == _container(before)
    (folder / "static.yaml").unlink()
    until(lambda: "NotFound" in shop.kubectl("get", "pod", name, code=None), "it is gone with its file")


def _other(pod: dict[str, Any], before: dict[str, Any]) -> dict[str, Any] | None:
    """The pod, if it is another object than before that shows a running container."""
    running = (pod["status"].get("containerStatuses") or [{}])[0].get("containerID")
    return pod if running and pod["metadata"]["uid"] != before["metadata"]["uid"] else None


def _container(pod: dict[str, Any]) -> str:
    found: str = pod["status"]["containerStatuses"][0]["containerID"]
    return found
