"""Which OCI runtimes work on this host: a test pod is run on each before it is offered to anybody.

The result is kept (D/node/runtimes.json) for as long as program and kernel stay what they are.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from pilothouse.linux.cgroups import Cgroups
from pilothouse.node.cri import Runtime, RuntimeFailure
from pilothouse.node.wire import cri_pb2 as cri

log = logging.getLogger(__name__)

LABEL = "runtime.pilothouse.io/"
"""Prefix of the node labels that say which runtimes work: `runtime.pilothouse.io/crun: "true"`."""
_UID = "pilothouse-runtime-test"


class Trial(TypedDict):
    """`seen` tells program and kernel apart from others; `error` is empty when the test pod ran."""

    seen: str
    error: str


async def tried_runtimes(
    runtime: Runtime, programs: Mapping[str, str], image: str, kept: Path, cgroup_root: str
) -> dict[str, str]:
    """The labels for the node: each handler in `programs` with "true" or "false".

    `image` is one that containerd has and whose program waits. A handler that was not tried yet, or whose program or
    kernel changed, is tried now (some 150 ms each).
    """
    trials = _load(kept)
    fresh: dict[str, Trial] = {}
    for handler, program in programs.items():
        seen = _fingerprint(program)
        known = trials.get(handler)
        if known is not None and known["seen"] == seen:
            fresh[handler] = known
            continue
        error = await _try(runtime, handler, image, f"{cgroup_root}/trial")
        fresh[handler] = Trial(seen=seen, error=error)
        if error:
            log.warning("runtime %s is not offered: its test pod did not run: %s", handler, error)
    if fresh != trials:
        Cgroups().remove(f"{cgroup_root}/trial")
        _save(kept, fresh)
    return {LABEL + handler: "false" if trial["error"] else "true" for handler, trial in fresh.items()}


async def _try(runtime: Runtime, handler: str, image: str, cgroup_parent: str) -> str:
    """Runs a pod of one container on the handler; returns why it did not run, or nothing."""
    config = cri.PodSandboxConfig()
    config.metadata.name = f"runtime-test-{handler}"
    config.metadata.namespace = "kube-system"
    config.metadata.uid = f"{_UID}-{handler}"
    config.linux.cgroup_parent = cgroup_parent
    # Without a network of its own, so that it can be tried before there is a pod network.
    config.linux.security_context.namespace_options.network = cri.NamespaceMode.NODE
    container = cri.ContainerConfig()
    container.metadata.name = "test"
    container.image.image = image
    sandbox = ""
    try:
        await _remove_leftovers(runtime)
        sandbox = await runtime.run_sandbox(config, handler)
        created = await runtime.create_container(sandbox, container, config)
        await runtime.start_container(created)
        status = await runtime.container_status(created)
        if status.state != cri.ContainerState.CONTAINER_RUNNING:
            return f"its container ended with exit code {status.exit_code}: {status.message}"
    except RuntimeFailure as error:
        return error.message
    finally:
        if sandbox:
            await _remove(runtime, sandbox)
    return ""


async def _remove(runtime: Runtime, sandbox: str) -> None:
    try:
        await runtime.stop_sandbox(sandbox)
        await runtime.remove_sandbox(sandbox)
    except RuntimeFailure as error:
        log.warning("the test pod %s is left behind: %s", sandbox, error)


async def _remove_leftovers(runtime: Runtime) -> None:
    """Test pods of a process that was killed meanwhile: their names would be in the way."""
    for found in await runtime.list_sandboxes():
        if found.metadata.uid.startswith(_UID):
            await _remove(runtime, found.id)


def _fingerprint(program: str) -> str:
    status = os.stat(program)
    return f"{program} {status.st_size} {status.st_mtime_ns} {platform.release()}"


def _save(kept: Path, trials: dict[str, Trial]) -> None:
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.write_text(json.dumps(trials, indent=2))


def _load(kept: Path) -> dict[str, Trial]:
    try:
        trials: dict[str, Trial] = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return trials
