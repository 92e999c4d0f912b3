"""The example, from its manifests to its page: deployed, reached by every address, its data kept, deployed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

ADVISORIES = Path(__file__).parents[3] / "examples" / "advisories"


def page(shop: Machine) -> dict[str, Any]:
    """What the application answers on the node's port."""
    return dict(json.loads(shop.fetch(f"http://{shop.address}:30080/api/shop")))


def test_the_page_is_there_by_every_address(shop: Machine) -> None:
    address = shop.cluster_address("front", "shop")
    for base in (address, f"{shop.address}:30080", "127.0.0.1:30080"):
        assert "Harbour Shop" in shop.fetch(f"http://{base}/")


def test_status_names_what_runs(shop: Machine) -> None:
    tree = json.loads(shop.pilothouse("status", "-o", "json"))
    assert tree["engine"]["pid"] == shop.pid("supervisor")
    assert tree["problems"] == []
    workloads = {w["name"]: (w["ready"], w["wanted"]) for w in tree["workloads"]}
    assert workloads == {"app": (2, 2), "front": (1, 1), "redis": (1, 1)}
    front = next(s for s in tree["services"] if s["name"] == "front")
    assert front["address"] == shop.cluster_address("front", "shop")


def test_a_placement_is_explained(shop: Machine) -> None:
    name = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")[0]["metadata"]["name"]
    said = shop.pilothouse("explain-schedule", name, "-n", "shop")
    assert f"runs on {shop.name}" in said
    assert "NodeResourcesFit" in said
    tree = json.loads(shop.pilothouse("explain-schedule", name, "-n", "shop", "-o", "json"))
    assert (tree["wouldGoTo"], [node["filter"] for node in tree["nodes"]]) == (shop.name, [None])


def test_data_outlives_the_pod_that_wrote_it(shop: Machine) -> None:
    before = page(shop)["visits"]
    (old,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")
    shop.kubectl("delete", "pod", "-n", "shop", old["metadata"]["name"])
    shop.kubectl("rollout", "status", "-n", "shop", "deployment/redis", "--timeout=60s", seconds=70)
    (new,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert until(lambda: page(shop)["visits"], "the page counts again") > before


def test_policies_of_the_example_hold(shop: Machine) -> None:
    """Only the application may talk to Redis: the front may not, and neither may the node's other pods."""
    address = shop.cluster_address("redis", "shop")
    probe = (
        "import socket,sys\ntry: socket.create_connection((sys.argv[1],6379),2)\n"
        "except OSError as e: print(type(e).__name__)\nelse: print('connected')"
    )
    app = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=app")[0]
    image = app["spec"]["containers"][0]["image"]
    said = {}
    for namespace, labels in (
        ("shop", "app.kubernetes.io/name=app"),
        ("shop", "app.kubernetes.io/name=other"),
        ("default", "a=b"),
    ):
        name = f"probe-{len(said)}"
        overrides = {"spec": {**SAFE, "containers": [{**CONTAINER, "image": image, "args": ["-c", probe, address]}]}}
        shop.kubectl(
            "run", name, "-n", namespace, f"--image={image}", "--restart=Never", f"--labels={labels}",
            f"--overrides={json.dumps(overrides)}",
        )  # fmt: skip
        shop.kubectl(
            "wait", "-n", namespace, f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s"
        )
        said[name] = shop.kubectl("logs", "-n", namespace, name).strip()
        shop.kubectl("delete", "pod", "-n", namespace, name, "--wait=false")
    assert said["probe-0"] == "connected"
    assert "connected" not in (said["probe-1"], said["probe-2"])


SAFE = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "automountServiceAccountToken": False,
}
CONTAINER = {
    "name": "c",
    "command": ["/usr/bin/python3"],
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}


def test_deployed_again_changes_nothing(shop: Machine, images: Images) -> None:
    kinds = "namespaces,configmaps,secrets,persistentvolumeclaims,serviceaccounts,deployments,services,networkpolicies"

    def versions() -> dict[str, str]:
        items = shop.get(kinds, "-n", "shop")["items"]
        return {f"{i['kind']}/{i['metadata']['name']}": i["metadata"]["resourceVersion"] for i in items}

    before = versions()
    tree = json.loads(shop.pilothouse("deploy", str(images.shop), "-o", "json"))
    assert tree["ready"]
    assert {item["outcome"] for item in tree["objects"]} == {"unchanged"}
    assert versions() == before


def image_findings(shop: Machine, rule: str) -> list[dict[str, Any]]:
    found = shop.get("findings", "-n", "shop", "-l", "pilothouse.io/source=images,pilothouse.io/state=open")["items"]
    return [finding for finding in found if finding["spec"]["rule"] == rule]


def test_an_advisory_names_the_pods_whose_images_have_the_package(shop: Machine) -> None:
    shop.pilothouse("vulndb", "update", "--from", str(ADVISORIES))
    (finding,) = until(lambda: image_findings(shop, "EXAMPLE-2025-0001"), "the finding about redis", 60.0)
    (pod,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")
    spec = finding["spec"]
    assert (spec["severity"], spec["subject"]["kind"], spec["subject"]["name"]) == ("high", "Deployment", "redis")
    assert spec["evidence"]["pods"] == pod["metadata"]["name"]
    assert spec["evidence"]["exposure"] == "Service redis"
    assert spec["evidence"]["layer"].startswith("sha256:")
    assert spec["evidence"]["package"].startswith("deb/redis 5:7.0")
    assert "apt-get install --only-upgrade" in spec["remedy"]
    assert until(lambda: image_findings(shop, "EXAMPLE-2025-0002"), "the finding about nginx", 60.0)


def test_single_records_are_no_clean_bill(shop: Machine) -> None:
    """Every container is listed, and none counts as scanned in full: there is no data for the whole of Debian."""

    def rows() -> list[dict[str, Any]]:
        found = json.loads(shop.pilothouse("scan", "--coverage", "-o", "json", code=3))
        return [row for row in found if row.get("namespace") == "shop"]

    covered = until(lambda: [row for row in rows() if row["state"] == "scanned in part"], "images are read", 60.0)
    assert {row["container"] for row in covered} == {"app", "front", "redis"} or len(covered) >= 3
    assert all("there is no vulnerability data for Debian" in row["reason"] for row in covered)
    assert image_findings(shop, "image-not-scanned")


def test_an_advisory_that_is_withdrawn_takes_its_finding_away(shop: Machine, tmp_path: Path) -> None:
    until(lambda: image_findings(shop, "EXAMPLE-2025-0002"), "the finding about nginx", 60.0)
    folder = tmp_path / "advisories"
    folder.mkdir()
    for name in ("EXAMPLE-2025-0001.json", "EXAMPLE-2025-0002.json"):
        record = json.loads((ADVISORIES / name).read_text())
        if name.endswith("2.json"):
            record["withdrawn"] = "2025-02-01T00:00:00Z"
        (folder / name).write_text(json.dumps(record))
    shop.pilothouse("vulndb", "update", "--from", str(folder))
    until(lambda: not image_findings(shop, "EXAMPLE-2025-0002"), "the finding about nginx goes", 60.0)
    assert image_findings(shop, "EXAMPLE-2025-0001")


def test_an_image_with_a_flaw_is_stopped_at_the_door(shop: Machine) -> None:
    """The namespace's policy; the image is scanned from its registry while the pod waits."""
    until(lambda: image_findings(shop, "EXAMPLE-2025-0001"), "the finding about redis", 60.0)
    (redis,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=redis")
    (front,) = shop.pods("-n", "shop", "-l", "app.kubernetes.io/name=front")
    shop.kubectl("create", "namespace", "door")
    shop.kubectl("annotate", "namespace", "door", "images.guard.pilothouse.dev/severity=high")

    def run(name: str, image: str, code: int) -> str:
        return shop.kubectl("run", name, "-n", "door", "--image", image, "--dry-run=server", code=code)

    said = run("bad", redis["spec"]["containers"][0]["image"], 1)
    assert "EXAMPLE-2025-0001 in redis" in said
    assert "violates the image policy of namespace" in said
    run("good", front["spec"]["containers"][0]["image"], 0)
    refused = shop.kubectl("annotate", "namespace", "door", "images.guard.pilothouse.dev/digest=maybe", code=1)
    assert "must be 'required'" in refused
    shop.kubectl("delete", "namespace", "door", "--wait=false")
