"""A process that judges what takes too long for the API server's own: policies one after another, within limits.

Frames on stdin and stdout: four bytes of length, then JSON. What is asked: `{policy, inputs, answers, seconds}`, of a
mutating policy with `stage` and `spent`; what is answered: `{result}`, `{question}` (an authorisation that has to be
asked first) or `{error}`. Nothing else is kept between frames but the policies last compiled. Whoever started it ends
it when an answer is late.
"""

from __future__ import annotations

import resource
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

import orjson

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import Broken, CompiledPolicy, Result
from pilothouse.policy.admission.mutation import CompiledMutations
from pilothouse.policy.admission.variables import Inputs
from pilothouse.policy.cel.errors import TimeExceeded
from pilothouse.policy.cel.library.authorizer import Answer, Question, Unanswered

_MEMORY = 1 << 30
_POLICIES = 64
_LENGTH = struct.Struct(">I")
_Known = OrderedDict[bytes, CompiledPolicy | CompiledMutations]


def main() -> None:
    """Answers until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    compiled: _Known = OrderedDict()
    while (data := read_frame(sys.stdin.buffer)) is not None:
        write_frame(sys.stdout.buffer, _answer(orjson.loads(data), compiled))


def _answer(asked: Obj, compiled: _Known) -> Obj:
    stage = asked.get("stage")
    key = orjson.dumps([stage is None, asked["policy"]])
    policy = compiled.pop(key, None) or (CompiledPolicy if stage is None else CompiledMutations)(asked["policy"])
    compiled[key] = policy
    while len(compiled) > _POLICIES:
        compiled.popitem(last=False)
    answers = {Question(*question): Answer(*answer) for question, answer in asked["answers"]}

    def decide(question: Question) -> Answer:
        if question not in answers:
            raise Unanswered(question)
        return answers[question]

    try:
        inputs, seconds = Inputs(*asked["inputs"]), asked["seconds"]
        if isinstance(policy, CompiledMutations):
            return {"result": policy.run(asked["stage"], inputs, decide, seconds, asked["spent"])}
        return {"result": policy.judge(inputs, decide, seconds)}
    except Unanswered as error:
        return {"question": error.question}
    except (TimeExceeded, MemoryError) as error:
        return {"error": str(error) or "operation cancelled: memory limit exceeded"}


def read_result(tree: Any) -> Result | None:
    """The result in an answer."""
    if tree is None:
        return None
    broken, annotations = tree
    return Result(tuple(Broken(*entry) for entry in broken), tuple((key, value) for key, value in annotations))


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, None at the end."""
    head = stream.read(_LENGTH.size)
    return stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else None


def write_frame(stream: BinaryIO, tree: Obj) -> None:
    """Writes a frame."""
    stream.write(frame(tree))
    stream.flush()


def frame(tree: Obj) -> bytes:
    """A frame's bytes."""
    data = orjson.dumps(tree, default=tuple)  # for it, named tuples are none
    return _LENGTH.pack(len(data)) + data


if __name__ == "__main__":
    main()
