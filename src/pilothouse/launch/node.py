"""The node process: pods, volumes, probes, the network's rules, the node's own HTTPS API, and the line to dns."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import signal
import sys
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.https import HttpsTransport
from pilothouse.dns.feed import ZoneFeed
from pilothouse.guard.images.live.contents import NodeContents
from pilothouse.guard.images.live.kept import Listed
from pilothouse.kinds.families import networks_of
from pilothouse.launch import process
from pilothouse.launch.config import Config, load
from pilothouse.launch.containerd import import_pause_image, runtime_binaries
from pilothouse.launch.network import network_config
from pilothouse.launch.notify import notify
from pilothouse.launch.pause import IMAGE
from pilothouse.launch.shutdown import DONE
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.host import Host, detect, has_ipv6
from pilothouse.linux.huge_pages import pools
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.quantity import to_bytes
from pilothouse.network import addresses
from pilothouse.network.host import AddressMissing, RangeInUse
from pilothouse.network.network import Network, service_keys
from pilothouse.node.api.authorise import Access
from pilothouse.node.api.reviews import ClusterReviewer
from pilothouse.node.api.server import NodeApi, server_context
from pilothouse.node.cri import Runtime, RuntimeAway, RuntimeFailure
from pilothouse.node.identity.errors import IdentityError
from pilothouse.node.identity.identity import Identity, ensure_identity, ensure_serving, keep_renewed
from pilothouse.node.images.content import target_digest
from pilothouse.node.node import Node, NodeConfig
from pilothouse.node.refuse import Abilities
from pilothouse.node.runtimes import tried_runtimes
from pilothouse.node.streams.rotation import RotationLimits

log = logging.getLogger(__name__)
VERSION = "v1.35.0+pilothouse"
_CONTAINERD_PAUSE = 0.05
_TOKEN_PAUSE = 0.05
_CERTIFICATE_PAUSE = 2.0
_CONTAINERD_PATIENCE = 200
_TOKEN_PATIENCE = 200


async def node(config: Config) -> None:
    """Runs until cancelled; containers, rules and dns go on after that."""
    host = detect()
    identity = await own_identity(config)
    transport = HttpsTransport(config.api_url, identity.client_context())
    client = Client(transport, user_agent="pilothouse-node")
    net_recorder = EventRecorder(client, "pilothouse-network", config.node_name)
    settings = network_config(config)
    if len(settings.versions) < len(config.versions):
        log.warning("this host has no IPv6 (net.ipv6.conf.all.disable_ipv6): its pods get IPv4 addresses only")
    network = Network(settings, client, net_recorder)
    await network.setup()
    labels = await prepare_runtime(config, host)
    recorder = EventRecorder(client, "kubelet", config.node_name)
    worker = Node(
        node_config(config, host, labels),
        client,
        recorder,
        services=network.services,
        pod_starting=network.pod_starting,
    )
    network.share_pods(worker.informer)
    feed = ZoneFeed(
        config.path("run", "dns.sock"),
        config.domain,
        [*networks_of(config.pod_range), *networks_of(config.service_range)],
        network.services,
        network.slices,
        service_keys,
    )

    async def sandboxes() -> set[str]:
        return {sandbox.id for sandbox in await worker.runtime.list_sandboxes()}

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(network.run())
            tasks.create_task(recorder.run())
            tasks.create_task(net_recorder.run())
            tasks.create_task(worker.run())
            tasks.create_task(serve_api(config, identity, transport, client, worker, network))
            tasks.create_task(feed.run())
            tasks.create_task(addresses.keep(config.path("cni", "ipam"), sandboxes))
            tasks.create_task(await_shutdown(worker, config))
            tasks.create_task(tell_ready(worker, config))
            tasks.create_task(process.guard_supervisor(Path(config.data_dir)))
    finally:
        await client.close()


async def await_shutdown(worker: Node, config: Config) -> None:
    """On SIGUSR1 the machine goes down: pods are ended, and D/run says when that is done."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    await asked.wait()
    await worker.shut_down()
    config.path("run", DONE).touch()


async def own_identity(config: Config) -> Identity:
    """This node's certificate. On the API's machine its token appears at the first start; wait for that."""
    directory = config.path("node")
    looks = 0
    while config.is_server:
        if any((directory / name).exists() for name in ("client.pem", "join")):
            break
        looks += 1
        if looks == _TOKEN_PATIENCE:
            log.warning("waiting for the control process to write a join token to %s", directory / "join")
        await asyncio.sleep(_TOKEN_PAUSE)
    return await ensure_identity(directory, config.node_name, config.api_url)


async def serve_api(
    config: Config, identity: Identity, transport: HttpsTransport, client: Client, worker: Node, network: Network
) -> None:
    """The node's own API, once its certificate is granted, which needs the Node to be registered."""
    addresses = [config.node_address]
    while True:
        try:
            serving = await ensure_serving(identity, client, addresses)
            break
        except ApiError as error:
            log.warning("the node's API waits for its certificate: %s", error)
            await asyncio.sleep(_CERTIFICATE_PAUSE)
    context = server_context(serving, serving, identity.authority)
    api = NodeApi(
        worker.pods,
        worker.runtime,
        context,
        node_name=config.node_name,
        address=config.node_address,
        port=config.node_port,
        directory=config.path("run", "streams"),
        cgroup_root=config.cgroup_root,
        logs=config.path("podlogs"),
        settings=config.node,
        domain=config.domain,
        access=Access(reviewer=ClusterReviewer(client, config.node_name)),
        rotation=RotationLimits(to_bytes(config.node.container_log_max_size), config.node.container_log_max_files),
        flows=network.recorder.answer,
        images=NodeContents(
            config.path("containerd", "root"),
            lambda name: target_digest(worker.runtime.channel, name),
            functools.partial(_images_of, worker.runtime),
        ),
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(api.run())
        tasks.create_task(
            keep_renewed(
                identity,
                client,
                addresses,
                lambda: transport.renew(identity.client_context()),
                lambda: context.load_cert_chain(serving),
            )
        )


async def _images_of(runtime: Runtime) -> list[Listed]:
    try:
        images = await runtime.list_images()
    except RuntimeFailure as error:
        raise LookupError(f"containerd does not list its images: {error}") from error
    return [Listed(tuple(image.repo_digests) or (image.id,), tuple(image.repo_tags)) for image in images]


async def prepare_runtime(config: Config, host: Host) -> dict[str, str]:
    """Waits for containerd, which may just be starting, gives it the sandbox image if it has none, and tries runtimes.

    Returns the node labels that say which runtimes work.
    """
    runtime = Runtime(config.containerd_socket)
    try:
        await _await_image(runtime, config, host)
        programs = runtime_binaries(config, host)
        kept = config.path("node", "runtimes.json")
        return await tried_runtimes(runtime, programs, IMAGE, kept, config.cgroup_root)
    finally:
        await runtime.close()


async def _await_image(runtime: Runtime, config: Config, host: Host) -> None:
    waited = 0
    while True:
        try:
            image, _ = await runtime.image_status(IMAGE)
            break
        except RuntimeAway as error:
            waited += 1
            if waited == _CONTAINERD_PATIENCE:
                log.error("containerd does not answer (%s): see its log in %s", error, config.path("logs"))
            await asyncio.sleep(_CONTAINERD_PAUSE)
    if image is None:
        await asyncio.to_thread(import_pause_image, config, host)


def node_config(config: Config, host: Host, labels: dict[str, str]) -> NodeConfig:
    """What the node room is handed."""
    return NodeConfig(
        name=config.node_name,
        address=config.node_address,
        more_addresses=(config.other_address,) if config.other_address and has_ipv6() else (),
        data_dir=Path(config.data_dir),
        containerd_socket=Path(config.containerd_socket),
        cgroup_root=config.cgroup_root,
        cluster_dns=config.dns_address,
        domain=config.domain,
        port=config.node_port,
        abilities=Abilities(
            apparmor=host.apparmor,
            selinux=host.selinux,
            seccomp_dir=str(config.path("seccomp")),
            huge_pages=tuple(pools()) if Cgroups().limits_huge_pages else (),
        ),
        labels=labels,
        settings=config.node,
        version=VERSION,
    )


async def tell_ready(worker: Node, config: Config) -> None:
    """Tells the supervisor, and through it whoever waits, that pods can run here."""
    await worker.registration.ready.wait()
    notify("node", f"ready: node {config.node_name} takes pods")


def main() -> None:
    """`python -m pilothouse.launch.node --data-dir D`."""
    parser = argparse.ArgumentParser(prog="pilothouse node")
    parser.add_argument("--data-dir", required=True)
    config = load(parser.parse_args().data_dir)
    if config is None:
        parser.error("nothing is set up there: run `pilothouse up`")
    process.set_up("node")
    try:
        process.run(lambda: node(config))
    except* (IdentityError, AddressMissing, RangeInUse) as errors:
        sys.exit("; ".join(str(error) for error in errors.exceptions))


if __name__ == "__main__":
    main()
