"""GET /exec, /attach and /portForward: the request's parameters, then the stream that carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from multidict import MultiMapping

from pilothouse.machinery.errors import ApiError, BadRequest
from pilothouse.node.api.lookup import PodLookup, find_pod, running_container
from pilothouse.node.api.websocket import AiohttpSocket, refuse, serve
from pilothouse.node.state import PodState
from pilothouse.node.streams import attach, channels, exec, forward_channels
from pilothouse.node.streams.forward import ForwardTarget
from pilothouse.node.streams.forward_spdy import PROTOCOL as SPDY
from pilothouse.node.streams.forward_spdy import SpdyForward
from pilothouse.node.streams.process import Streams
from pilothouse.node.streams.tasks import Tasks


def streams_of(query: Mapping[str, str]) -> Streams:
    """The streams asked for, in the node API's words (`input`) or the cluster's (`stdin`). Raises BadRequest."""

    def asked(*names: str) -> bool:
        return any(query.get(name, "").lower() in ("1", "true") for name in names)

    streams = Streams(
        stdin=asked("input", "stdin"),
        stdout=asked("output", "stdout"),
        stderr=asked("error", "stderr"),
        terminal=asked("tty"),
    )
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return streams


def ports_of(query: MultiMapping[str]) -> list[int]:
    """The ports asked for. Raises BadRequest."""
    texts = [text for name in ("ports", "port") for value in query.getall(name, ()) for text in value.split(",")]
    ports = [int(text) if text.isdigit() else 0 for text in texts]
    if not ports or not all(0 < port < 65536 for port in ports):
        raise BadRequest(f"ports must be numbers from 1 to 65535, and one at least: {', '.join(texts) or 'none given'}")
    if len(ports) > 126:
        raise BadRequest("more than 126 ports do not fit in one session")
    return ports


class Sessions:
    """Serves the streams; `directory` is where exec sessions keep their FIFOs."""

    def __init__(self, pods: PodLookup, tasks: Tasks, directory: Path) -> None:
        self._pods = pods
        self._tasks = tasks
        self._directory = directory

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Raises BadRequest for a request that cannot become a session; what is amiss with the pod is told in it."""
        streams, command = streams_of(request.query), request.query.getall("command", [])
        if not command:
            raise BadRequest("you must specify at least one command for the container")

        async def session(socket: AiohttpSocket) -> None:
            try:
                container = running_container(self._pod(request), request.match_info["container"])
            except ApiError as error:
                await refuse(socket, error)
                return
            await exec.run(socket, self._tasks, self._directory, container.id, list(command), streams)

        return await serve(request, channels.PROTOCOLS, session)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Raises BadRequest, as `exec` does."""
        streams = streams_of(request.query)

        async def session(socket: AiohttpSocket) -> None:
            try:
                container = running_container(self._pod(request), request.match_info["container"])
            except ApiError as error:
                await refuse(socket, error)
                return
            await attach.run(socket, self._tasks, container.id, streams)

        return await serve(request, channels.PROTOCOLS, session)

    async def port_forward(self, request: web.Request) -> web.StreamResponse:
        """Raises NotFound, BadRequest."""
        target = forward_target(self._pod(request))
        spdy = SPDY in request.headers.get("Sec-WebSocket-Protocol", "")
        ports = [] if spdy else ports_of(request.query)

        async def session(socket: AiohttpSocket) -> None:
            if socket.protocol == SPDY:
                await SpdyForward(socket, target).run()
            else:
                await forward_channels.run(socket, target, ports)

        return await serve(request, (SPDY,) if spdy else channels.PROTOCOLS, session)

    def _pod(self, request: web.Request) -> PodState:
        names = request.match_info
        return find_pod(self._pods, names["namespace"], names["pod"], names.get("uid", ""))


def forward_target(state: PodState) -> ForwardTarget:
    """Raises BadRequest when the pod has no network to connect in."""
    if state.sandbox is None or not state.sandbox.ready:
        raise BadRequest(f"unable to forward port because pod {state.key} is not running")
    if not state.netns and not state.host_network:
        raise BadRequest(f"unable to forward port because the network of pod {state.key} is not known yet")
    return ForwardTarget(state.namespace, state.name, state.uid, state.netns)
