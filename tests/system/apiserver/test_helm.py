"""The stock helm 4 against the server alone: it applies on the server's side and keeps its releases in Secrets."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from kubectl_runner import Kubectl

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.testing.control_plane import ControlPlane

pytestmark = pytest.mark.system

TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {colour: {{ .Values.colour | default "red" | quote }}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: x}, ports: [{port: 80}]}
"""


async def test_install_upgrade_rollback_uninstall(
    run: Kubectl, helm: Path, plane: ControlPlane, tmp_path: Path
) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (chart / "templates" / "all.yaml").write_text(TEMPLATE)
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}

    async def helm_runs(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            helm, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0, output
        return output.decode()

    async def colour() -> str:
        return (await plane.client().get(ConfigMap, "r", "default")).data["colour"]

    assert "STATUS: deployed" in await helm_runs("install", "r", str(chart))
    assert await colour() == "red"
    await helm_runs("upgrade", "r", str(chart), "--set", "colour=blue")
    await helm_runs("upgrade", "r", str(chart), "--set", "colour=green")
    assert await colour() == "green"
    await helm_runs("rollback", "r", "1")
    assert await colour() == "red"
    assert "deployed" in await helm_runs("list")
    await helm_runs("uninstall", "r")
    assert await plane.client().find(ConfigMap, "r", "default") is None
