"""One request's turn with policies and conditions: where they are judged, and what the authoriser said meanwhile.

A policy is judged in this process for a few milliseconds; what takes longer is judged anew in a process of its own,
with upstream's limits. Both are the same function of the same values, so where it is judged does not show.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pilothouse.apiserver.admission.policies.authorizer import answer
from pilothouse.apiserver.admission.policies.link import WorkerLink
from pilothouse.apiserver.chain import Authorizer
from pilothouse.client.wire import User
from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import Broken, CompiledPolicy, Result
from pilothouse.policy.admission.mutation import CompiledMutations, Outcome
from pilothouse.policy.admission.variables import Inputs
from pilothouse.policy.cel.errors import TimeExceeded
from pilothouse.policy.cel.library.authorizer import Answer, Question, Unanswered

T = TypeVar("T")
_SECONDS_HERE = 0.02
"""What all policies together may take of the event loop for one request."""


class Turn:
    """For one request of one user."""

    def __init__(self, user: User, authorizer: Authorizer, worker: WorkerLink) -> None:
        self._user = user
        self._authorizer = authorizer
        self._worker = worker
        self._answers: dict[Question, Answer] = {}
        self._left = _SECONDS_HERE

    async def judge(self, policy: Obj, compiled: CompiledPolicy, inputs: Inputs) -> Result | None:
        """What a policy says; None when it does not mean the request. One that takes too long counts as an error."""
        try:
            return await self._found(
                lambda seconds: compiled.judge(inputs, self._decide, seconds),
                lambda: self._worker.judge(policy, inputs, self._answers),
            )
        except TimeExceeded as error:
            return Result((Broken(0, str(error), error=True),))

    async def mutation(
        self, policy: Obj, compiled: CompiledMutations, stage: int, inputs: Inputs, spent: int
    ) -> Outcome:
        """What a stage of a mutating policy gives. One that takes too long counts as an error."""
        try:
            return await self._found(
                lambda seconds: compiled.run(stage, inputs, self._decide, seconds, spent),
                lambda: self._worker.mutation(policy, stage, spent, inputs, self._answers),
            )
        except TimeExceeded as error:
            return Outcome(None, spent, str(error))

    async def _found(self, here: Callable[[float], T], there: Callable[[], Awaitable[T]]) -> T:
        """The answer of this process, or of the other one if this takes too long. Raises TimeExceeded."""
        local = True
        while True:
            try:
                return self._here(here) if local else await there()
            except Unanswered as error:
                self._answers[error.question] = await answer(self._authorizer, self._user, error.question)
            except TimeExceeded:
                if not local:
                    raise
                local = False

    def _decide(self, question: Question) -> Answer:
        if question not in self._answers:
            raise Unanswered(question)
        return self._answers[question]

    def _here(self, here: Callable[[float], T]) -> T:
        if self._left <= 0:
            raise TimeExceeded("no time left")
        started = time.monotonic()
        try:
            return here(self._left)
        finally:
            self._left -= time.monotonic() - started
