"""`pilothouse check --kubeconfig`: a live cluster is judged as the files it was made from."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from edge_certificates import Certificates

from pilothouse.apiserver.chain import Attributes, Chain, Decision
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.cli.check import CheckOptions, run_check
from pilothouse.cli.cluster import Cluster
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import read
from pilothouse.kinds.catalogue import by_kind
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import AllowAll, ControlPlane

SHOP = Path(__file__).parents[3] / "examples" / "shop"


class AllButSecrets(AllowAll):
    """Secrets may not be read."""

    async def allow(self, attributes: Attributes) -> Decision:
        return Decision(attributes.resource != "secrets" or attributes.verb != "list")


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    chain = AllButSecrets()
    async with ControlPlane(chain=Chain(chain, chain, chain)) as running:
        for manifest in sorted(read(str(SHOP))[0], key=lambda m: m.tree["kind"] != "Namespace"):
            await create(running, manifest.tree)
        yield running


async def create(plane: ControlPlane, tree: Obj) -> None:
    group, _, version = tree["apiVersion"].rpartition("/")
    kind = by_kind(group, version, tree["kind"])
    assert kind is not None
    await plane.client().create_tree(kind.resource, json.loads(json.dumps(tree)), tree["metadata"].get("namespace"))


@pytest.fixture
async def kubeconfig(plane: ControlPlane, certificates: Certificates, tmp_path: Path) -> AsyncIterator[str]:
    sock = socket.create_server(("127.0.0.1", 0))
    edge = HttpsEdge(plane.api.handle, certificates.server_context())
    await edge.start([sock])
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config(certificates, sock.getsockname()[1])))
    yield str(file)
    await edge.close()


def config(certificates: Certificates, port: int) -> Obj:
    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    certificate, key = certificates.issue("admin", "admin")
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data(certificates.ca)}
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }


def said(text: str) -> set[tuple[str, ...]]:
    keys = ("id", "object", "container", "field", "message")
    return {tuple(finding[key] for key in keys) for finding in json.loads(text)["findings"]}


async def test_the_same_verdict_as_of_the_files(kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = await asyncio.to_thread(run_check, [], CheckOptions("json", kubeconfig=kubeconfig))
    live = json.loads(capsys.readouterr().out)
    run_check([str(SHOP)], CheckOptions("json"))
    filed = capsys.readouterr().out
    assert code == 2
    assert [entry["message"][:23] for entry in live["unread"]] == ["secrets cannot be read:"]
    about_secrets = {"configuration-missing"}
    assert {f for f in said(json.dumps(live)) if f[0] not in about_secrets} == said(filed)


async def test_a_context_that_is_not_there_is_named_with_those_that_are(
    kubeconfig: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError):
        Cluster(kubeconfig, "there")
    assert "has no context there; it has here" in capsys.readouterr().err


async def test_a_server_that_is_away_is_told(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "config").write_text(yaml.safe_dump(config(certificates, port)))
    with pytest.raises(CommandError):
        list(Cluster(str(tmp_path / "config"), None).objects([]))
    told = capsys.readouterr().err
    assert f"127.0.0.1:{port} (context here): " in told
    assert "refused" in told


def test_credentials_may_come_from_a_program(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = config(certificates, 1)
    answer = json.dumps({"status": {"token": "harbour"}})
    tree["users"][0]["user"] = {"exec": {"command": sys.executable, "args": ["-c", f"print('{answer}')"]}}
    (tmp_path / "config").write_text(yaml.safe_dump(tree))
    assert Cluster(str(tmp_path / "config"), None)._headers["authorization"] == "Bearer harbour"
    tree["users"][0]["user"]["exec"]["args"] = ["-c", "raise SystemExit(1)"]
    (tmp_path / "config").write_text(yaml.safe_dump(tree))
    with pytest.raises(CommandError):
        Cluster(str(tmp_path / "config"), None)
    assert "gave no credentials" in capsys.readouterr().err


def test_files_and_a_cluster_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError):
        run_check(["."], CheckOptions(context="here"))
    assert "not both" in capsys.readouterr().err


def test_no_part_of_the_engine_is_needed() -> None:
    engine = ("aiohttp", "cryptography", "grpc", "nftables", "google", "uvloop")
    program = f"import sys; sys.modules.update(dict.fromkeys({engine!r})); import pilothouse.cli.cluster"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_own_checks_may_be_about_kinds_that_ours_do_not_read(
    plane: ControlPlane, kubeconfig: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": "shop"}}
    await create(plane, {**lease, "spec": {"holderIdentity": "nobody"}})
    (tmp_path / "checks.yaml").write_text(LEASE_CHECK)

    options = CheckOptions("json", kubeconfig=kubeconfig, checks=(str(tmp_path / "checks.yaml"),))
    await asyncio.to_thread(run_check, [], options)

    told = json.loads(capsys.readouterr().out)
    assert ("coordination.k8s.io/v1/Lease/shop/a", "held by nobody") in {
        (finding["object"], finding["message"]) for finding in told["findings"] if finding["id"] == "lease-held"
    }
    assert "own checks are about widgets.example.com, which are not served here" in {
        entry["message"] for entry in told["unread"]
    }


async def test_exemptions_count_once_they_are_granted_and_annotations_never(
    plane: ControlPlane, kubeconfig: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"reason=x owner=y expires={dt.date.today() + dt.timedelta(days=30)}"
    annotated = {"metadata": {"annotations": {"accept.pilothouse.io/image-latest-tag": words}}}
    client = plane.client()
    await client.request(
        "PATCH",
        "/apis/apps/v1/namespaces/shop/deployments/app",
        body=annotated,
        content_type="application/merge-patch+json",
    )
    end = f"{dt.date.today() + dt.timedelta(days=30)}T00:00:00Z"
    spec = {"rules": ["image-latest-tag"], "names": ["front"], "reason": "x", "owner": "y", "expires": end}
    exemption = {"apiVersion": "guard.pilothouse.dev/v1alpha1", "kind": "Exemption", "spec": spec}
    await create(plane, {**exemption, "metadata": {"name": "front", "namespace": "shop"}})

    asked = await accepted(kubeconfig, capsys)
    await client.patch(Exemption, "front", "shop", {"status": {"approval": "Approved"}}, subresource="status")
    granted = await accepted(kubeconfig, capsys)

    assert (asked, granted) == (set(), {("image-latest-tag", "apps/v1/Deployment/shop/front")})


async def accepted(kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str]]:
    await asyncio.to_thread(run_check, [], CheckOptions("json", kubeconfig=kubeconfig))
    return {(finding["id"], finding["object"]) for finding in json.loads(capsys.readouterr().out)["accepted"]}


LEASE_CHECK = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: lease-held
  annotations:
    pilothouse.io/id: lease-held
    pilothouse.io/title: Lease of nobody
    pilothouse.io/severity: low
    pilothouse.io/category: hygiene
    pilothouse.io/why: It is never given back.
    pilothouse.io/remedy: delete it
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [coordination.k8s.io], apiVersions: ["*"], operations: [CREATE], resources: [leases]}
      - {apiGroups: [example.com], apiVersions: ["*"], operations: [CREATE], resources: [widgets]}
  validations:
    - {expression: "object.spec.holderIdentity != 'nobody'", message: held by nobody}
"""
