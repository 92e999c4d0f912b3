"""Every kind the API serves from its store, in the order discovery lists them.

A new kind is one module and one line here; routes, discovery, OpenAPI, storage keys, columns and the reference
documentation follow from it.
"""

from __future__ import annotations

from pilothouse.kinds.apps import controller_revision, daemon_set, deployment, replica_set, stateful_set
from pilothouse.kinds.batch import cron_job, job
from pilothouse.kinds.certificates import csr
from pilothouse.kinds.coordination import lease
from pilothouse.kinds.core import (
    config_map,
    event,
    namespace,
    node,
    persistent_volume,
    persistent_volume_claim,
    pod_kind,
    secret,
    service,
    service_account,
)
from pilothouse.kinds.discovery import endpoint_slice
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.networking import network_policy
from pilothouse.kinds.node import runtime_class
from pilothouse.kinds.rbac import role, role_binding
from pilothouse.kinds.scheduling import priority_class
from pilothouse.kinds.storage import storage_class

KINDS: tuple[Kind, ...] = (
    config_map.KIND,
    event.KIND,
    namespace.KIND,
    node.KIND,
    persistent_volume_claim.KIND,
    persistent_volume.KIND,
    pod_kind.KIND,
    secret.KIND,
    service_account.KIND,
    service.KIND,
    controller_revision.KIND,
    daemon_set.KIND,
    deployment.KIND,
    replica_set.KIND,
    stateful_set.KIND,
    cron_job.KIND,
    job.KIND,
    csr.KIND,
    lease.KIND,
    endpoint_slice.KIND,
    network_policy.KIND,
    runtime_class.KIND,
    role_binding.CLUSTER_ROLE_BINDING,
    role.CLUSTER_ROLE,
    role_binding.ROLE_BINDING,
    role.ROLE,
    priority_class.KIND,
    storage_class.KIND,
)

_BY_RESOURCE = {(kind.resource.group, kind.resource.version, kind.resource.plural): kind for kind in KINDS}
_BY_KIND = {(kind.resource.group, kind.resource.version, kind.resource.kind): kind for kind in KINDS}


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at `/apis/group/version/plural`, if there is one."""
    return _BY_RESOURCE.get((group, version, plural))


def by_kind(group: str, version: str, kind: str) -> Kind | None:
    """The kind that objects with this `apiVersion` and `kind` are of, if it is served."""
    return _BY_KIND.get((group, version, kind))
