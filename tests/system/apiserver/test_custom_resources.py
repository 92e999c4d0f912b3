"""Custom resources with the stock kubectl and helm against the server alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson
import pytest
from kubectl_runner import Kubectl

from pilothouse.testing.control_plane import ControlPlane

pytestmark = pytest.mark.system

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: Something that runs now and then.
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When it runs.}
              image: {type: string, default: nginx}
              replicas: {type: integer, default: 1}
            x-kubernetes-validations:
            - {rule: self.replicas <= 5, message: too many}
          status:
            type: object
            properties:
              replicas: {type: integer}
              conditions: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
TAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine}
spec: {cronSpec: "* * * * *"}
"""


async def test_kubectl_knows_a_kind_from_the_moment_it_is_defined(run: Kubectl) -> None:
    assert "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created" in await run(
        "apply", "-f", "-", stdin=DEFINITION
    )
    await run("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=20s")
    assert "crontab.stable.example.com/mine created" in await run("apply", "-f", "-", stdin=TAB)
    assert "unchanged" in await run("apply", "-f", "-", stdin=TAB)
    assert "configured" in await run("apply", "-f", "-", stdin=TAB.replace("* * * * *", "1 * * * *"))
    wide = await run("get", "ct", "-o", "wide")
    assert wide.split()[:4] == ["NAME", "SPEC", "IMAGE", "AGE"]
    assert "nginx" in wide
    assert "crontab.stable.example.com/mine" in await run("get", "all", "-o", "name")
    assert "Cron Spec:  1 * * * *" in await run("describe", "crontab", "mine")
    explained = await run("explain", "crontab.spec.cronSpec")
    assert "When it runs." in explained
    assert "crontabs" in await run("api-resources", "--api-group=stable.example.com")
    assert "scaled" in await run("scale", "crontab/mine", "--replicas=3")
    assert await run("get", "ct", "mine", "-o", "jsonpath={.spec.replicas}") == "3"
    refused = await run("scale", "crontab/mine", "--replicas=9", fails=True)
    assert "too many" in refused
    unknown = await run("apply", "-f", "-", stdin=TAB.replace("spec: {", "spec: {odd: 1, "), fails=True)
    assert 'unknown field "spec.odd"' in unknown
    assert "deleted" in await run("delete", "ct", "mine")


async def test_kubectl_waits_for_and_watches_a_custom_resource(run: Kubectl) -> None:
    await run("apply", "-f", "-", stdin=DEFINITION)
    await run("apply", "--server-side", "-f", "-", stdin=TAB)
    waiting = await run.start("wait", "--for=condition=Ready", "ct/mine", "--timeout=20s")
    patch = orjson.dumps({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}).decode()
    await run("patch", "ct", "mine", "--subresource=status", "--type=merge", "-p", patch)
    async with asyncio.timeout(30):
        output, errors = await waiting.communicate()
    assert b"condition met" in output, errors
    conflict = TAB.replace("* * * * *", "2 * * * *")
    refused = await run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=conflict, fails=True)
    assert "conflict" in refused
    await run("label", "ct", "mine", "a=b")
    await run("annotate", "ct", "mine", "c=d")
    assert "deleted" in await run("delete", "ct", "-l", "a=b")


async def test_a_chart_with_a_folder_of_definitions(
    run: Kubectl, helm: Path, plane: ControlPlane, tmp_path: Path
) -> None:
    chart = tmp_path / "chart"
    for folder in ("templates", "crds"):
        (chart / folder).mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (chart / "crds" / "crontab.yaml").write_text(DEFINITION)
    (chart / "templates" / "tab.yaml").write_text(TAB.replace("name: mine", "name: {{ .Release.Name }}"))
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
    for arguments in (("install", "r", str(chart)), ("upgrade", "r", str(chart)), ("uninstall", "r")):
        process = await asyncio.create_subprocess_exec(
            helm, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0, output
        if arguments[0] == "install":
            assert await run("get", "ct", "-o", "name") == "crontab.stable.example.com/r\n"
    assert await run("get", "ct", "-o", "name") == ""
