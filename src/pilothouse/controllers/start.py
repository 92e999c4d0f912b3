"""Runs the controllers side by side, each with its own identity, over shared informers."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.shared import SharedInformers
from pilothouse.controllers.attach import controller as attach
from pilothouse.controllers.cluster_role_aggregation import controller as cluster_role_aggregation
from pilothouse.controllers.context import Context
from pilothouse.controllers.cron_job import controller as cron_job
from pilothouse.controllers.custom_resource_definition import controller as custom_resource_definition
from pilothouse.controllers.daemon_set import controller as daemon_set
from pilothouse.controllers.deployment import controller as deployment
from pilothouse.controllers.disruption import controller as disruption
from pilothouse.controllers.endpoint_slice import controller as endpoint_slice
from pilothouse.controllers.endpoint_slice_mirroring import controller as endpoint_slice_mirroring
from pilothouse.controllers.endpoints import controller as endpoints
from pilothouse.controllers.ephemeral_volume import controller as ephemeral_volume
from pilothouse.controllers.events_ttl import controller as events_ttl
from pilothouse.controllers.flow_schema import controller as flow_schema
from pilothouse.controllers.garbage_collector import controller as garbage_collector
from pilothouse.controllers.horizontal_pod_autoscaler import controller as horizontal_pod_autoscaler
from pilothouse.controllers.job import controller as job
from pilothouse.controllers.load_balancer import controller as load_balancer
from pilothouse.controllers.namespace import controller as namespace
from pilothouse.controllers.node_ipam import controller as node_ipam
from pilothouse.controllers.node_lifecycle import controller as node_lifecycle
from pilothouse.controllers.persistent_volume import controller as persistent_volume
from pilothouse.controllers.pod_gc import controller as pod_gc
from pilothouse.controllers.replica_set import controller as replica_set
from pilothouse.controllers.replica_set import replication
from pilothouse.controllers.resource_quota import controller as resource_quota
from pilothouse.controllers.runtime_class import controller as runtime_class
from pilothouse.controllers.service_account import controller as service_account
from pilothouse.controllers.service_address import controller as service_address
from pilothouse.controllers.service_cidr import controller as service_cidr
from pilothouse.controllers.stateful_set import controller as stateful_set
from pilothouse.controllers.ttl_after_finished import controller as ttl_after_finished
from pilothouse.controllers.validating_admission_policy import controller as validating_admission_policy
from pilothouse.controllers.volume_snapshot import controller as volume_snapshot
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.families import families_of, networks_of
from pilothouse.machinery.objects import Resource
from pilothouse.reconcile.queue import Backoff

INFORMERS = "informers"
"""The identity under which the shared informers read; it may get, list and watch everything."""
REPLACEABLE = frozenset(
    {
        deployment.NAME,
        replica_set.NAME,
        replication.NAME,
        stateful_set.NAME,
        daemon_set.NAME,
        disruption.NAME,
        horizontal_pod_autoscaler.NAME,
        ephemeral_volume.NAME,
        job.NAME,
        cron_job.NAME,
        ttl_after_finished.NAME,
        endpoint_slice.NAME,
        endpoint_slice_mirroring.NAME,
        endpoints.NAME,
        service_account.NAME,
        service_cidr.NAME,
        cluster_role_aggregation.NAME,
        pod_gc.NAME,
        node_lifecycle.NAME,
        resource_quota.NAME,
        garbage_collector.NAME,
        namespace.NAME,
    }
)
"""Controllers that upstream's controller manager has too, with the same objects and the same fields. The others are
Pilothouse's own: local volumes, attachments (by what its nodes tell), addresses of load balancers and pod ranges,
runtime classes, what etcd or the API server would do."""
_RESTART = Backoff(first=1.0, most=60.0)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Controller:
    """`name` is its identity (`system:controller:NAME`) and the source of its events; `run` runs until cancelled."""

    name: str
    run: Callable[[Context], Awaitable[None]]


async def run_controllers(
    client_for: Callable[[str], Client],
    *,
    pod_range: str,
    node_prefix: int = 24,
    informers: SharedInformers | None = None,
    autoscaling_period: float = horizontal_pod_autoscaler.PERIOD_SECONDS,
    extra: Sequence[Controller] = (),
    without: Collection[str] = (),
) -> None:
    """Runs all controllers until cancelled.

    `client_for(name)` gives the client of one identity. `pod_range` is the cluster's pod range (or one of each family),
    of which each node gets a `/node_prefix` (of IPv6 a /64). `informers` are given when they are shared with other
    components (the scheduler), whose owner then runs them. Autoscalers look at their metrics every `autoscaling_period`
    seconds. `extra` is the seam for controllers made elsewhere (certificates, bootstrap tokens, root CA): they run and
    are restarted like these. Those named in `without` do not run: somebody else does their work.
    """
    shared = informers or SharedInformers(client_for(INFORMERS))
    async with asyncio.TaskGroup() as group:
        every = (*controllers(pod_range, node_prefix, autoscaling_period), *extra)
        for controller in (controller for controller in every if controller.name not in without):
            group.create_task(supervise(controller, client_for(controller.name), shared), name=controller.name)
        if informers is None:
            group.create_task(shared.run(), name=INFORMERS)


def controllers(
    pod_range: str, node_prefix: int, autoscaling_period: float = horizontal_pod_autoscaler.PERIOD_SECONDS
) -> list[Controller]:
    """The controllers of this room. The collector and the namespace controller come last: they look at every kind, and
    use the informers that others asked for."""
    every, namespaced = _resources()
    autoscale = functools.partial(horizontal_pod_autoscaler.run, period=autoscaling_period)
    return [
        Controller(deployment.NAME, deployment.run),
        Controller(replica_set.NAME, replica_set.run),
        Controller(replication.NAME, replication.run),
        Controller(stateful_set.NAME, stateful_set.run),
        Controller(daemon_set.NAME, daemon_set.run),
        Controller(disruption.NAME, disruption.run),
        Controller(horizontal_pod_autoscaler.NAME, autoscale),
        Controller(ephemeral_volume.NAME, ephemeral_volume.run),
        Controller(job.NAME, job.run),
        Controller(cron_job.NAME, cron_job.run),
        Controller(ttl_after_finished.NAME, ttl_after_finished.run),
        Controller(endpoint_slice.NAME, endpoint_slice.run),
        Controller(endpoint_slice_mirroring.NAME, endpoint_slice_mirroring.run),
        Controller(endpoints.NAME, endpoints.run),
        Controller(load_balancer.NAME, load_balancer.run),
        Controller(service_account.NAME, service_account.run),
        Controller(service_address.NAME, service_address.run),
        Controller(service_cidr.NAME, functools.partial(service_cidr.run, served=families_of(networks_of(pod_range)))),
        Controller(flow_schema.NAME, flow_schema.run),
        Controller(runtime_class.NAME, runtime_class.run),
        Controller(cluster_role_aggregation.NAME, cluster_role_aggregation.run),
        Controller(pod_gc.NAME, pod_gc.run),
        Controller(node_lifecycle.NAME, node_lifecycle.run),
        Controller(node_ipam.NAME, functools.partial(node_ipam.run, cluster_range=pod_range, prefix=node_prefix)),
        Controller(persistent_volume.NAME, persistent_volume.run),
        Controller(attach.NAME, attach.run),
        Controller(volume_snapshot.NAME, volume_snapshot.run),
        Controller(events_ttl.NAME, events_ttl.run),
        Controller(custom_resource_definition.NAME, custom_resource_definition.run),
        Controller(validating_admission_policy.NAME, validating_admission_policy.run),
        Controller(resource_quota.NAME, functools.partial(resource_quota.run, resources=namespaced)),
        Controller(garbage_collector.NAME, functools.partial(garbage_collector.run, resources=every)),
        Controller(namespace.NAME, functools.partial(namespace.run, resources=namespaced)),
    ]


def _resources() -> tuple[list[Resource], list[Resource]]:
    """Kinds whose objects can be watched and deleted, each in one version: all, and those in namespaces."""
    kept = [kind for kind in KINDS if kind.stored_as is None]
    every = [kind.resource for kind in kept if {"list", "watch", "delete"} <= kind.verbs]
    return every, [resource for resource in every if resource.namespaced]


async def supervise(controller: Controller, client: Client, informers: SharedInformers) -> None:
    """Runs one controller for ever: when it fails it is logged and started again after a while, the others go on."""
    events = EventRecorder(client, controller.name)
    context = Context(client, informers, events)
    failures = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(events.run())
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await controller.run(context)
            except Exception:
                log.exception("the controller %s failed", controller.name)
            if asyncio.get_running_loop().time() - started > _RESTART.most:
                failures = 0
            failures += 1
            await asyncio.sleep(_RESTART.delay(failures))
