"""exec: a new process in a running container, its streams carried over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.streams import channels
from pilothouse.node.streams.fifo import FifoReader
from pilothouse.node.streams.process import ExecProcess, Streams
from pilothouse.node.streams.session import Socket, end
from pilothouse.node.streams.tasks import Tasks

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""A process that left children holding its output is over once it has exited and nothing came for so long."""


async def run(
    socket: Socket, tasks: Tasks, directory: Path, container_id: str, command: list[str], streams: Streams
) -> None:
    """Runs the command until it ends or the client goes away, which kills it. The client is told how it ended."""
    process = ExecProcess(tasks, container_id, directory, streams)
    try:
        status = await _session(socket, process, command, streams)
    except RuntimeFailure as error:
        status = channels.failure_status(f"the command cannot be run in the container: {_plain(error.message)}")
    except channels.ChannelError as error:
        status = channels.failure_status(str(error))
    finally:
        # Even when this session is cancelled, the process must not outlive it.
        closing = asyncio.create_task(process.close(), name="close exec")
        _closing.add(closing)
        closing.add_done_callback(_closed)
    if status is not None:
        await end(socket, status)


_closing: set[asyncio.Task[None]] = set()


def _closed(task: asyncio.Task[None]) -> None:
    _closing.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("an exec session could not be cleaned up", exc_info=task.exception())


async def _session(socket: Socket, process: ExecProcess, command: list[str], streams: Streams) -> bytes | None:
    """The Status to end with; None when the client has gone."""
    incoming = asyncio.create_task(_incoming(socket, process), name="exec input")
    work = asyncio.create_task(_outgoing(socket, process, command, streams), name="exec output")
    try:
        await asyncio.wait((incoming, work), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            incoming.result()
            return None
        return work.result()
    except ConnectionError:
        return None
    finally:
        for task in (incoming, work):
            task.cancel()
        await asyncio.gather(incoming, work, return_exceptions=True)


async def _outgoing(socket: Socket, process: ExecProcess, command: list[str], streams: Streams) -> bytes:
    await process.start(command)
    activity = _Activity()
    outputs = (
        (channels.STDOUT if streams.stdout else None, process.stdout),
        (channels.STDERR if streams.stderr else None, process.stderr),
    )
    copies = [
        asyncio.create_task(_copy(socket, channel, pipe, activity)) for channel, pipe in outputs if pipe is not None
    ]
    try:
        code = await process.wait()
        await _drain(copies, activity)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
    return channels.exit_status(code)


class _Activity:
    """Counts pieces carried, and those that wait for the client."""

    def __init__(self) -> None:
        self.pieces = 0
        self.sending = 0


async def _copy(socket: Socket, channel: int | None, pipe: FifoReader, activity: _Activity) -> None:
    """Carries an output to its channel; one without a channel is read and dropped."""
    while piece := await pipe.read():
        if channel is None:
            continue
        activity.sending += 1
        try:
            await socket.send(channels.encode(channel, piece))
        finally:
            activity.sending -= 1
            activity.pieces += 1


async def _drain(copies: list[asyncio.Task[None]], activity: _Activity) -> None:
    """Waits for the end of both outputs, or for quiet that is not a slow client's doing."""
    pending = set(copies)
    while pending:
        before = activity.pieces
        done, pending = await asyncio.wait(pending, timeout=QUIET_SECONDS)
        for copy in done:
            copy.result()
        if not done and activity.pieces == before and not activity.sending:
            return


async def _incoming(socket: Socket, process: ExecProcess) -> None:
    """Returns when the client has closed or gone."""
    while (message := await socket.receive()) is not None:
        match channels.decode(socket.protocol, message):
            case channels.Size() as size:
                await process.resize(size)
            case channels.Closed(channels.STDIN):
                await process.started.wait()
                await process.end_input()
            case channels.Data(channels.STDIN, payload):
                await process.started.wait()
                if process.stdin is not None:
                    # BrokenPipeError: the process reads no more; what is sent to it now is dropped.
                    with contextlib.suppress(BrokenPipeError):
                        await process.stdin.write(payload)
            case _:
                continue


def _plain(message: str) -> str:
    """The runtime's message without the layers each tool wraps around the cause."""
    marker = "unable to start container process: "
    return message.rpartition(marker)[2] if marker in message else message
