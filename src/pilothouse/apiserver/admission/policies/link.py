"""The process that judges what would keep the event loop too long: started when first needed, ended when it is late."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import Result
from pilothouse.policy.admission.mutation import Outcome
from pilothouse.policy.admission.variables import Inputs
from pilothouse.policy.admission.worker import frame, read_result
from pilothouse.policy.cel.errors import TimeExceeded
from pilothouse.policy.cel.library.authorizer import Answer, Question, Unanswered

log = logging.getLogger(__name__)

SECONDS = 5.0
"""How long a policy may take for one request. Upstream's cost limit ends most at a fraction of it."""
_GRACE = 2.0
_COMMAND = (sys.executable, "-m", "pilothouse.policy.admission.worker")


class WorkerLink:
    """One process, asked one thing at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def judge(self, policy: Obj, inputs: Inputs, answers: Mapping[Question, Answer]) -> Result | None:
        """As `CompiledPolicy.judge`. Raises TimeExceeded, Unanswered."""
        return read_result(await self._result(policy, inputs, answers, {}))

    async def mutation(
        self, policy: Obj, stage: int, spent: int, inputs: Inputs, answers: Mapping[Question, Answer]
    ) -> Outcome:
        """As `CompiledMutations.run`. Raises TimeExceeded, Unanswered."""
        return Outcome(*await self._result(policy, inputs, answers, {"stage": stage, "spent": spent}))

    async def _result(self, policy: Obj, inputs: Inputs, answers: Mapping[Question, Answer], more: Obj) -> Any:
        bare = {"metadata": {"name": policy["metadata"]["name"]}, "spec": policy.get("spec")}
        asked = {"policy": bare, "inputs": inputs, "answers": [*answers.items()], "seconds": SECONDS, **more}
        async with self._turn:
            try:
                async with asyncio.timeout(SECONDS + _GRACE):
                    answer = await self._ask(frame(asked))
            except (TimeoutError, OSError, EOFError) as error:
                await self.close()
                raise TimeExceeded("operation cancelled: time limit exceeded") from error
            except asyncio.CancelledError:
                await self.close()  # an answer to nobody must not be taken for the next one's
                raise
        if "question" in answer:
            raise Unanswered(Question(*answer["question"]))
        if "error" in answer:
            raise TimeExceeded(answer["error"])
        return answer["result"]

    async def _ask(self, data: bytes) -> Obj:
        process = self._process
        if process is None or process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            process = self._process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=pipe, stdout=pipe)
            log.info("policies that take long are judged in process %d", process.pid)
        if process.stdin is None or process.stdout is None:
            raise EOFError
        process.stdin.write(data)
        await process.stdin.drain()
        (length,) = struct.unpack(">I", await process.stdout.readexactly(4))
        found: Obj = orjson.loads(await process.stdout.readexactly(length))
        return found

    async def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
