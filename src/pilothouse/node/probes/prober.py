"""Probes of running containers: a light task for each, which sleeps between tries and ends with its container."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Literal, TypeAlias

from pilothouse.kinds.core.pod import Container, Probe
from pilothouse.node.counts import Counts
from pilothouse.node.cri import Runtime, RuntimeAway, RuntimeFailure, RuntimeTimeout
from pilothouse.node.probes import http, tcp
from pilothouse.node.probes.counting import Counter
from pilothouse.node.probes.lag import LoopLag
from pilothouse.node.probes.target import NoSuchPort, Outcome, port_number
from pilothouse.node.state import ContainerState, PodState

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["startup", "liveness", "readiness"]
Tell: TypeAlias = Callable[[PodState, Literal["Normal", "Warning"], str, str, str], None]


class Prober:
    """Runs probes and writes what they find into the containers' states."""

    def __init__(
        self, runtime: Runtime, host_ip: str, wake: Callable[[str], None], tell: Tell, counts: Counts | None = None
    ) -> None:
        self._counts = counts or Counts()
        self._runtime = runtime
        self._host_ip = host_ip
        self._wake = wake
        self._tell = tell
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self.lag = LoopLag()

    def begin(self, state: PodState, container: Container, run: ContainerState) -> None:
        """Starts the probes that are due: startup first, the others once it has passed."""
        if container.startup_probe is not None and not run.started:
            self._start(state, container, run, "startup", container.startup_probe)
            return
        if container.liveness_probe is not None:
            self._start(state, container, run, "liveness", container.liveness_probe)
        if container.readiness_probe is not None:
            self._start(state, container, run, "readiness", container.readiness_probe)

    def end(self, run: ContainerState) -> None:
        """Ends the container's probes."""
        for task in self._tasks.pop(run.id, ()):
            task.cancel()

    def has(self, run: ContainerState) -> bool:
        return any(not task.done() for task in self._tasks.get(run.id, ()))

    def close(self) -> None:
        for tasks in self._tasks.values():
            for task in tasks:
                task.cancel()
        self._tasks.clear()

    def _start(self, state: PodState, container: Container, run: ContainerState, kind: Kind, probe: Probe) -> None:
        task = asyncio.create_task(self._run(state, container, run, kind, probe), name=f"{kind} probe of {run.id}")
        self._tasks.setdefault(run.id, []).append(task)
        task.add_done_callback(_report)

    async def _run(self, state: PodState, container: Container, run: ContainerState, kind: Kind, probe: Probe) -> None:
        counter = Counter(probe.success_threshold or 1, probe.failure_threshold or 3)
        if kind == "readiness" and run.ready:
            counter.verdict = True
        period = float(probe.period_seconds or 10)
        loop = asyncio.get_running_loop()
        next_at = loop.time() + probe.initial_delay_seconds
        while run.running and not run.stopping_since:
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            next_at = loop.time() + period
            outcome = await self._try(state, container, run, probe)
            if outcome is None:
                continue
            result = "successful" if outcome.success else "failed"
            self._counts.probes[(kind, result, state.namespace, state.name, state.uid, run.name)] += 1
            if not outcome.success:
                message = f"{kind.capitalize()} probe failed: {outcome.message}"
                self._tell(state, "Warning", "Unhealthy", message, run.name)
            if counter.add(outcome.success) and self._conclude(state, container, run, kind, probe, outcome.success):
                return
            if kind == "startup" and not outcome.success:
                # A start is looked at a little off the beat, so that many pods started together spread out.
                next_at += random.uniform(0, 0.05)

    async def _try(self, state: PodState, container: Container, run: ContainerState, probe: Probe) -> Outcome | None:
        """One try; None when it says nothing: this process or the runtime was what kept it waiting."""
        before = self.lag.enter()
        try:
            outcome = await self._act(state, container, run, probe)
        finally:
            lagged = self.lag.leave(before)
        if outcome is not None and outcome.timed_out and lagged:
            log.info("a probe of %s/%s timed out while this process lagged: not counted", state.key, run.name)
            return None
        return outcome

    async def _act(self, state: PodState, container: Container, run: ContainerState, probe: Probe) -> Outcome | None:
        timeout = float(probe.timeout_seconds or 1)
        host = self._host_ip if state.host_network else state.ip
        try:
            if probe.exec is not None:
                return await self._exec(run, probe.exec.command, timeout)
            if probe.http_get is not None:
                action = probe.http_get
                return await http.get(action, action.host or host, port_number(container, action.port), timeout)
            if probe.tcp_socket is not None:
                port = port_number(container, probe.tcp_socket.port)
                return await tcp.connect(probe.tcp_socket.host or host, port, timeout)
            if probe.grpc is not None:
                from pilothouse.node.probes import grpc

                return await grpc.check(probe.grpc, host, timeout)
        except NoSuchPort as error:
            return Outcome(False, str(error))
        return Outcome(False, "the probe names no action")

    async def _exec(self, run: ContainerState, command: list[str], timeout: float) -> Outcome | None:
        try:
            code, output = await self._runtime.exec_sync(run.id, command, timeout)
        except RuntimeTimeout:
            return Outcome(False, f'command "{" ".join(command)}" timed out', timed_out=True)
        except RuntimeAway:
            return None
        except RuntimeFailure as error:
            return Outcome(False, error.message)
        return Outcome(code == 0, output[:10240].decode("utf-8", "replace"))

    def _conclude(
        self, state: PodState, container: Container, run: ContainerState, kind: Kind, probe: Probe, success: bool
    ) -> bool:
        """Writes a verdict into the state; True when this probe is over."""
        if not run.running:
            return True
        over = False
        if kind == "readiness":
            run.ready = success
        elif kind == "startup" and success:
            run.started, over = True, True
            run.ready = run.ready or container.readiness_probe is None
            self.begin(state, container, run)
        elif not success:
            run.kill_reason = f"Container {run.name} failed {kind} probe, will be restarted"
            grace = probe.termination_grace_period_seconds
            run.kill_grace = None if grace is None else float(grace)
            over = True
        self._wake(state.uid)
        return over


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s failed", task.get_name(), exc_info=task.exception())
