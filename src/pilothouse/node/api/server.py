"""The node's HTTPS server: routes, who may use them, errors as Status objects."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import orjson
from aiohttp import web

from pilothouse.machinery.errors import ApiError, InternalError, MethodNotAllowed, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.node.api import description, gone_logs
from pilothouse.node.api.authorise import Access
from pilothouse.node.api.images import ImageContents, ImageRoutes
from pilothouse.node.api.logs import container_logs
from pilothouse.node.api.lookup import PodLookup
from pilothouse.node.api.sessions import Sessions
from pilothouse.node.cri import Runtime
from pilothouse.node.settings import Settings
from pilothouse.node.stats.node_metrics import node_metrics, probe_metrics
from pilothouse.node.stats.serve import EXPOSITION, Statistics
from pilothouse.node.streams.rotation import RotationLimits, RunningLog, rotate_forever
from pilothouse.node.streams.tasks import Tasks

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SHUTDOWN_SECONDS = 2.0


def server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """TLS that asks clients for a certificate of the cluster; `load_cert_chain` on it again renews ours in place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    # Who shows none must have a token.
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class NodeApi:
    """Serves logs, exec, attach, port-forward and statistics of this node's pods, and rotates their logs.

    `directory` is a folder of its own (emptied at start) for the FIFOs of exec sessions; `cgroup_root` is what the
    control groups of all pods lie below, `logs` where logs are; `flows` gives the network's record of flows as JSON,
    `images` what is in the node's images.
    """

    def __init__(
        self,
        pods: PodLookup,
        runtime: Runtime,
        ssl_context: ssl.SSLContext,
        *,
        node_name: str,
        address: str,
        port: int = 10250,
        directory: Path,
        cgroup_root: str,
        access: Access | None = None,
        rotation: RotationLimits | None = None,
        flows: Callable[[], bytes] | None = None,
        images: ImageContents | None = None,
        logs: Path | None = None,
        settings: Settings | None = None,
        domain: str = "cluster.local",
    ) -> None:
        self._pods = pods
        self._runtime = runtime
        self._ssl = ssl_context
        self._address = address
        self._port = port
        self._directory = directory
        self._access = access or Access()
        self._node_name = node_name
        self._settings = settings or Settings()
        self._domain = domain
        self._rotation = rotation or RotationLimits()
        self._flows = flows
        self._images = images
        self._logs = logs or directory.parent / "podlogs"
        self._statistics = Statistics(pods, node_name, cgroup_root, directory.parent)
        self.listening = asyncio.Event()
        """Set once requests are answered; `port` is then the real one when 0 was asked for."""

    @property
    def port(self) -> int:
        return self._port

    async def run(self) -> None:
        """Serves until cancelled. Raises OSError when the address cannot be listened on."""
        await asyncio.to_thread(shutil.rmtree, self._directory, True)
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._address, self._port, ssl_context=self._ssl, reuse_address=True)
            await site.start()
            self._port = runner.addresses[0][1]
            self.listening.set()
            await rotate_forever(self._running_logs, self._tasks.reopen_log, self._rotation)
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        tasks = self._tasks = Tasks(self._runtime.channel)
        sessions = Sessions(self._pods, tasks, self._directory)

        async def logs(request: web.Request) -> web.StreamResponse:
            return await container_logs(request, self._pods, tasks)

        async def list_gone(request: web.Request) -> web.StreamResponse:
            return await gone_logs.list_gone(request, self._pods, self._logs)

        async def read_gone(request: web.Request) -> web.StreamResponse:
            return await gone_logs.read_gone(request, self._logs)

        application = web.Application(middlewares=[self._guard])
        add = application.router.add_get
        for path in ("/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"):
            add(path, _health, allow_head=False)
        add("/containerLogs/{namespace}/{pod}/{container}", logs, allow_head=False)
        add("/goneLogs/{namespace}/{pod}", list_gone, allow_head=False)
        add("/goneLogs/{namespace}/{pod}/{uid}/{container}", read_gone, allow_head=False)
        for verb, handler in (("exec", sessions.exec), ("attach", sessions.attach)):
            add(f"/{verb}/{{namespace}}/{{pod}}/{{container}}", handler, allow_head=False)
            add(f"/{verb}/{{namespace}}/{{pod}}/{{uid}}/{{container}}", handler, allow_head=False)
        add("/portForward/{namespace}/{pod}", sessions.port_forward, allow_head=False)
        add("/portForward/{namespace}/{pod}/{uid}", sessions.port_forward, allow_head=False)
        if self._flows is not None:
            add("/network/flows", self._network_flows, allow_head=False)
        if self._images is not None:
            ImageRoutes(self._images).add_to(application.router)
        add("/stats/summary", self._statistics.summary, allow_head=False)
        for path, answer in (
            ("/pods", self._list_pods),
            ("/runningpods/", self._list_running),
            ("/configz", self._configuration),
            ("/metrics", self._node_metrics),
            ("/metrics/probes", self._probe_metrics),
        ):
            add(path, answer, allow_head=False)
        add("/metrics/resource", self._statistics.resource, allow_head=False)
        add("/metrics/cadvisor", self._statistics.cadvisor, allow_head=False)
        return application

    async def _network_flows(self, request: web.Request) -> web.Response:
        assert self._flows is not None
        return web.Response(body=self._flows(), content_type="application/json")

    async def _list_pods(self, request: web.Request) -> web.Response:
        return _json(description.pods(self._pods, running=False))

    async def _list_running(self, request: web.Request) -> web.Response:
        return _json(description.pods(self._pods, running=True))

    async def _configuration(self, request: web.Request) -> web.Response:
        tree = description.configuration(self._settings, address=self._address, port=self._port, domain=self._domain)
        return _json(tree)

    async def _node_metrics(self, request: web.Request) -> web.Response:
        return _exposition(node_metrics(self._node_name, self._pods.counts, self._pods))

    async def _probe_metrics(self, request: web.Request) -> web.Response:
        return _exposition(probe_metrics(self._pods.counts))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Authorises, and answers errors as Status objects."""
        try:
            transport = request.transport
            certificate = transport.get_extra_info("peercert") if transport is not None else None
            given = request.headers.get("Authorization", "")
            await self._access.check(certificate, given, request.method, request.path)
            return await handler(request)
        except ApiError as error:
            return _status(error)
        except web.HTTPMethodNotAllowed:
            return _status(MethodNotAllowed(f"{request.method} is not served at {request.path}"))
        except web.HTTPNotFound:
            return _status(NotFound(f"the node's API does not serve {request.path}"))
        except web.HTTPException:
            raise
        except Exception as error:
            log.exception("the node's API failed at %s", request.path)
            return _status(InternalError(f"the node failed: {error!r}"))

    def _running_logs(self) -> Iterator[RunningLog]:
        for state in self._pods:
            for container in state.containers.values():
                if container.running and container.log_path:
                    yield RunningLog(container.id, container.log_path)


def _json(tree: Obj) -> web.Response:
    return web.Response(body=orjson.dumps(tree), content_type="application/json")


def _exposition(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": EXPOSITION})


async def _health(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _status(error: ApiError) -> web.Response:
    return web.Response(status=error.code, body=orjson.dumps(error.status()), content_type="application/json")
