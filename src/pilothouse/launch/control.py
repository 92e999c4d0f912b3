"""The control process: API server, store, controllers and scheduler in one event loop.

Everything but the HTTPS edge talks to the API through the same handler, so each component passes authentication,
authorisation and admission as its own identity.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import functools
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilothouse.apiserver.admission.exempt import BOOTSTRAP
from pilothouse.apiserver.aggregation import availability
from pilothouse.apiserver.allocation import service_allocators
from pilothouse.apiserver.audit.log import AuditLog
from pilothouse.apiserver.audit.policy import InvalidPolicy, Policy, default_policy, read_policy
from pilothouse.apiserver.authentication.oidc.tokens import OidcTokens
from pilothouse.apiserver.authorise import may_list
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.component_roles import CONTROLLER_PREFIX, component_names
from pilothouse.apiserver.bootstrap.ensure import ensure, keep
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.chain import Chain
from pilothouse.apiserver.flow_control.control import FlowControl
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.apiserver.settings_file import SettingsFile
from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import HandlerTransport, User
from pilothouse.controllers.bootstrap_token import controller as token_cleaner
from pilothouse.controllers.bootstrap_token import create_join_token
from pilothouse.controllers.certificates import controller as certificates
from pilothouse.controllers.context import Context
from pilothouse.controllers.root_ca import controller as root_ca
from pilothouse.controllers.start import INFORMERS, Controller, run_controllers
from pilothouse.guard.findings.console import Console
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.sending.run import Sending
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.live.run import NAME as IMAGE_GUARD
from pilothouse.guard.images.live.run import ImageGuard
from pilothouse.guard.images.places import FOLDER
from pilothouse.guard.judge import shipped_evaluator
from pilothouse.guard.live.run import NAME as live_checks
from pilothouse.guard.live.run import Live
from pilothouse.guard.policy_reports.publish import Publishing
from pilothouse.guard.policy_reports.watch import PolicyReports
from pilothouse.ingress import controller as ingress
from pilothouse.ingress.proxy import Proxy
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.families import join_host_port
from pilothouse.kinds.guard.finding import FINDINGS
from pilothouse.launch import listeners, process, replaced, runfile
from pilothouse.launch.config import Config, load
from pilothouse.launch.door import GuardDoor
from pilothouse.launch.encryption import KeyRing
from pilothouse.launch.image_door import ImageDoor
from pilothouse.launch.notify import notify
from pilothouse.launch.parts import Parts
from pilothouse.launch.pki import API, FRONT_PROXY, NODE_CLIENT, ClusterPki, write_private
from pilothouse.launch.token_keys import TokenKeyFile
from pilothouse.node.identity.validity import validity
from pilothouse.scheduler.scheduler import run_scheduler
from pilothouse.store.copy import copy_database
from pilothouse.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pilothouse.apiserver.authentication.oidc.config import AuthenticationSettings
    from pilothouse.apiserver.authorization.webhook.config import AuthorizationSettings

log = logging.getLogger(__name__)
_LONGEST_SLEEP = 3600.0
_OWN_TOKEN_SECONDS = 3600.0
_GUARD_RESTART_SECONDS = 60.0


async def control(config: Config) -> None:
    """Runs until cancelled."""
    pki = ClusterPki.open(
        config.path("pki"),
        addresses=[config.node_address, *config.listen],
        service_ip=config.kubernetes_service,
        domain=config.domain,
        components=replaced.identities(config.without),
    )
    kubeconfig = config.path("kubeconfig")
    write_private(kubeconfig, pki.admin_kubeconfig(f"https://127.0.0.1:{config.api_port}").encode())
    _make_way(config, pki)
    keys = KeyRing.open(config.path("pki"))
    store = SqliteStore(config.path("state.db"), sealer=keys.sealer())
    for key in keys.forget_old():
        log.info("all Secrets are sealed under key %s; key %s is forgotten", keys.keys[0].id, key.id)
    findings = Findings(config.path("findings.db"))
    nodes = NodeLink(pki.client_context(NODE_CLIENT))
    issuer = f"https://kubernetes.default.svc.{config.domain}"
    door = GuardDoor(StoreReader(store))
    image_door = ImageDoor(StoreReader(store), Door(config.path(FOLDER), config.path("containerd", "certs.d")))
    token_keys = TokenKeyFile.open(pki.directory, pki.service_account_key, dt.datetime.now(dt.UTC))
    oidc = OidcTokens(_authentication(config, issuer).current)
    chain = build_chain(
        store,
        token_keys.keys,
        issuer,
        (door, image_door),
        (image_door,),
        oidc=oidc,
        authorization=_authorization(config).current,
    )
    parts = Parts(config.without, StoreReader(store))
    api = _api(config, pki, store, chain, findings, nodes, parts)
    context = pki.server_context()
    edge = HttpsEdge(api.handle, context)
    sockets = listeners.inherited()["tcp"] or [listeners.listen_tcp(a, config.api_port) for a in config.listen]

    def client_for(name: str) -> Client:
        """A client for a part of this process, with that part's own identity and rights."""
        user = User(name if name.startswith("system:") else CONTROLLER_PREFIX + name)
        return Client(HandlerTransport(api.handle, user), user_agent=name)

    informers = SharedInformers(client_for(INFORMERS))
    extra = [*_certified(pki), _availability(api), _ingress(config)]
    try:
        keeping = await set_up_cluster(config, pki, store, api)
        await edge.start(sockets)
        notify("control", f"ready: the API answers at {_outside_url(config)}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.prepare())
            tasks.create_task(keeping())
            controllers = tasks.create_task(
                run_controllers(
                    client_for,
                    pod_range=config.pod_range,
                    informers=informers,
                    autoscaling_period=config.autoscaling_seconds,
                    extra=extra,
                    without=replaced.controllers_left_out(config.without),
                )
            )
            parts.started(replaced.CONTROLLERS, controllers)
            if not replaced.without_scheduler(config.without):
                scheduler = run_scheduler(client_for("system:kube-scheduler"), informers=informers)
                parts.started(replaced.SCHEDULER, tasks.create_task(scheduler))
            tasks.create_task(informers.run())
            for work in _guard(config, findings, client_for, informers):
                tasks.create_task(work)
            tasks.create_task(keep_renewed(pki, context, nodes, api))
            tasks.create_task(keep_rotating(token_keys))
            tasks.create_task(api.measures.sample_lag())
            tasks.create_task(process.guard_supervisor(Path(config.data_dir)))
    finally:
        await edge.close()
        await api.close()
        await nodes.close()
        await findings.close()
        await store.close()


def _authentication(config: Config, issuer: str) -> SettingsFile[AuthenticationSettings | None]:
    """Whose tokens are believed besides the cluster's own. Raises InvalidSettings."""

    def read(tree: Any) -> AuthenticationSettings | None:
        from pilothouse.apiserver.authentication.oidc.config import read_settings  # late: CEL takes its time to import

        return read_settings(tree, issuer)

    return SettingsFile(config.path("authentication.yaml"), read, None)


def _authorization(config: Config) -> SettingsFile[AuthorizationSettings | None]:
    """Which authorisers are asked, in which order. Raises InvalidSettings."""
    path = config.path("authorization.yaml")

    def read(tree: Any) -> AuthorizationSettings | None:
        from pilothouse.apiserver.authorization.webhook.config import read_settings

        return read_settings(tree, path.parent)

    return SettingsFile(path, read, None)


def _api(
    config: Config,
    pki: ClusterPki,
    store: SqliteStore,
    chain: Chain,
    findings: Findings,
    nodes: NodeLink,
    parts: Parts,
) -> ApiServer:
    """The API server with all that stands beside its store."""
    return ApiServer(
        store,
        chain,
        KINDS,
        allocators=service_allocators(store, config.service_range, reserved=frozenset({config.dns_address})),
        nodes=nodes,
        proxy_certificate=pki.path(FRONT_PROXY),
        audit=AuditLog(config.path("audit", "audit.log"), _audit_policy(config.path("audit-policy.yaml"))),
        flow=FlowControl(store),
        beside={FINDINGS: findings.state},
        components=parts.probes(),
        pages=Console(findings, functools.partial(may_list, chain.authorizer, FINDINGS)).pages,
        snapshots={
            "state.db": store.snapshot,
            "findings.db": functools.partial(copy_database, config.path("findings.db")),
        },
    )


def _guard(
    config: Config,
    findings: Findings,
    client_for: Callable[[str], Client],
    informers: SharedInformers,
) -> list[Coroutine[Any, Any, None]]:
    """The parts of the guard that judge what runs, and what becomes of their findings."""
    live = Live(findings, mapping=config.path("owners.yaml"))
    reports, publishing = PolicyReports(findings), Publishing(findings, client_for(live_checks))

    async def judging() -> None:
        await asyncio.to_thread(shipped_evaluator)  # compiles the checks: a quarter of a second
        await live.run(client_for(live_checks), informers)

    return [
        kept_up("keeping findings", findings.run),
        kept_up("sending findings", Sending(findings, config.path("forward.yaml")).run),
        kept_up("the live checks", judging),
        kept_up("reports of other tools", lambda: reports.run(informers)),
        kept_up("report objects", lambda: publishing.run(informers)),
        images_guarded(ImageGuard(findings, client_for(IMAGE_GUARD), config.path(FOLDER)), informers),
    ]


async def kept_up(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part of the guard: when it fails that is logged, and it begins anew after a while; the API goes on."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("%s failed", name)
        await asyncio.sleep(_GUARD_RESTART_SECONDS)


def _audit_policy(file: Path) -> Policy:
    """The policy of that file, the default one without it; one that cannot be read does not leave nothing recorded."""
    try:
        return read_policy(file)
    except FileNotFoundError:
        pass
    except (InvalidPolicy, OSError) as error:
        log.error("%s cannot be used, the default audit policy holds: %s", file, error)
    return default_policy(component_names())


def _outside_url(config: Config) -> str:
    """The API's URL for other machines."""
    return f"https://{join_host_port(config.node_address, config.api_port)}"


def _make_way(config: Config, pki: ClusterPki) -> None:
    """Credentials for those who take the place of parts that are left out, and none for others."""
    wanted = replaced.identities(config.without)
    for identity in replaced.IDENTITIES.values():
        path = config.path(f"{identity}.kubeconfig")
        if identity in wanted:
            url = f"https://127.0.0.1:{config.api_port}"
            write_private(path, replaced.kubeconfig(url, pki.ca_path, pki.path(identity), identity).encode())
            log.info("%s is left out: %s is for what runs in its place", identity, path)
        else:
            path.unlink(missing_ok=True)
            pki.path(identity).unlink(missing_ok=True)


def _availability(api: ApiServer) -> Controller:
    return Controller(availability.NAME, lambda context: api.availability.run(context.client))


async def images_guarded(guard: ImageGuard, informers: SharedInformers) -> None:
    """Runs the image scanning: when it fails that is logged, and it begins anew after a while."""
    while True:
        try:
            await guard.run(informers)
        except Exception:
            log.exception("the image scanning failed")
        await asyncio.sleep(_GUARD_RESTART_SECONDS)


def _ingress(config: Config) -> Controller:
    """Serves Ingresses on this machine."""
    run_dir = config.path("run")

    def recorded() -> int:
        running = runfile.read(run_dir, "ingress")
        return running.pid if running is not None else 0

    proxy = Proxy(
        config.path("ingress"),
        config.path("logs", "ingress.log"),
        recorded,
        lambda pid: runfile.write(run_dir, "ingress", pid),
    )

    async def run(context: Context) -> None:
        await ingress.run(context.client, context.informers, context.events, proxy, config.node_address)

    return Controller(ingress.NAME, run)


def _certified(pki: ClusterPki) -> list[Controller]:
    """The controllers that work with the cluster's authority."""
    sign = functools.partial(certificates.run, ca_pem=pki.ca_pem, ca_key_pem=pki.ca_key_pem)
    publish = functools.partial(root_ca.run, ca_pem=pki.ca_pem.decode())
    return [
        Controller(certificates.NAME, sign),
        Controller(root_ca.NAME, publish),
        Controller(token_cleaner.NAME, token_cleaner.run),
    ]


async def set_up_cluster(
    config: Config, pki: ClusterPki, store: SqliteStore, api: ApiServer
) -> Callable[[], Coroutine[Any, Any, None]]:
    """What the cluster holds from its first start, and a token for this machine's own node until it has joined.
    Returned is what keeps it while the engine runs."""
    root = Client(HandlerTransport(api.handle, User(BOOTSTRAP, ("system:masters",))))
    cluster = Cluster(
        service_ip=config.kubernetes_service,
        api_address=config.node_address,
        api_port=config.api_port,
        server=_outside_url(config),
        ca_pem=pki.ca_pem,
        pod_range=config.pod_range,
        service_range=config.service_range,
        domain=config.domain,
    )
    await ensure(StoreReader(store), root, cluster)
    if not _has_joined(config.path("node", "client.pem")):
        token = await create_join_token(root, _OWN_TOKEN_SECONDS, pki.ca_der)
        config.path("node").mkdir(mode=0o700, exist_ok=True)
        write_private(config.path("node", "join"), token.encode())
    return functools.partial(keep, StoreReader(store), root, cluster)


def _has_joined(certificate: Path) -> bool:
    """False also when the certificate has ended, as on a machine that was switched off for a month."""
    try:
        return validity(certificate.read_text()).end > dt.datetime.now(dt.UTC)
    except (FileNotFoundError, ValueError):
        return False


async def keep_renewed(pki: ClusterPki, context: ssl.SSLContext, nodes: NodeLink, api: ApiServer) -> None:
    """Replaces certificates before they end, while everything goes on."""
    while True:
        seconds = (pki.next_renewal() - dt.datetime.now(dt.UTC)).total_seconds()
        await asyncio.sleep(min(max(seconds, 1.0), _LONGEST_SLEEP))
        for name in pki.renew():
            log.info("the certificate %s was renewed", name)
            if name == API:
                pki.refresh(context, API)
            elif name == NODE_CLIENT:
                nodes.renew(pki.client_context(NODE_CLIENT))
            elif name == FRONT_PROXY:
                api.renew_proxy_certificate()


async def keep_rotating(keys: TokenKeyFile) -> None:
    """Lets another key sign service account tokens when it is due, while everything goes on."""
    while True:
        seconds = (keys.due() - dt.datetime.now(dt.UTC)).total_seconds()
        if seconds > 0:
            await asyncio.sleep(min(seconds, _LONGEST_SLEEP))
        else:
            log.info(
                "service account tokens are signed by the key %s from now on", keys.rotate(dt.datetime.now(dt.UTC))
            )


def main() -> None:
    """`python -m pilothouse.launch.control --data-dir D`."""
    parser = argparse.ArgumentParser(prog="pilothouse control")
    parser.add_argument("--data-dir", required=True)
    config = load(parser.parse_args().data_dir)
    if config is None:
        parser.error("nothing is set up there: run `pilothouse up`")
    process.set_up("control")
    process.run(lambda: control(config))


if __name__ == "__main__":
    main()
