"""Every kind the API serves from its store, in the order discovery lists them.

A new kind is one module and one line here; routes, discovery, OpenAPI, storage keys, columns and the reference
documentation follow from it.
"""

from __future__ import annotations

from pilothouse.kinds.admissionregistration import (
    mutating_admission_policy,
    mutating_admission_policy_binding,
    mutating_webhook_configuration,
    validating_admission_policy,
    validating_admission_policy_binding,
    validating_webhook_configuration,
)
from pilothouse.kinds.apiextensions import definition
from pilothouse.kinds.apiregistration import api_service
from pilothouse.kinds.apps import controller_revision, daemon_set, deployment, replica_set, stateful_set
from pilothouse.kinds.autoscaling import horizontal_pod_autoscaler, horizontal_pod_autoscaler_v1
from pilothouse.kinds.batch import cron_job, job
from pilothouse.kinds.certificates import csr
from pilothouse.kinds.coordination import lease
from pilothouse.kinds.core import (
    config_map,
    endpoints,
    event,
    limit_range,
    namespace,
    node,
    persistent_volume,
    persistent_volume_claim,
    pod_kind,
    pod_template,
    replication_controller,
    resource_quota,
    secret,
    service,
    service_account,
)
from pilothouse.kinds.discovery import endpoint_slice
from pilothouse.kinds.events import event as events_event
from pilothouse.kinds.flowcontrol import flow_schema, priority_level_configuration
from pilothouse.kinds.guard import exemption, finding
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.networking import ingress, ingress_class, ip_address, network_policy, service_cidr
from pilothouse.kinds.node import runtime_class
from pilothouse.kinds.policy import pod_disruption_budget
from pilothouse.kinds.rbac import role, role_binding
from pilothouse.kinds.resource import device_class, resource_claim, resource_claim_template, resource_slice
from pilothouse.kinds.scheduling import priority_class
from pilothouse.kinds.storage import (
    csi_driver,
    csi_node,
    csi_storage_capacity,
    storage_class,
    volume_attachment,
    volume_attributes_class,
)

KINDS: tuple[Kind, ...] = (
    config_map.KIND,
    endpoints.KIND,
    event.KIND,
    limit_range.KIND,
    namespace.KIND,
    node.KIND,
    persistent_volume_claim.KIND,
    persistent_volume.KIND,
    pod_kind.KIND,
    pod_template.KIND,
    replication_controller.KIND,
    resource_quota.KIND,
    secret.KIND,
    service_account.KIND,
    service.KIND,
    events_event.KIND,
    definition.KIND,
    api_service.KIND,
    controller_revision.KIND,
    daemon_set.KIND,
    deployment.KIND,
    replica_set.KIND,
    stateful_set.KIND,
    horizontal_pod_autoscaler.KIND,
    horizontal_pod_autoscaler_v1.KIND,
    cron_job.KIND,
    job.KIND,
    csr.KIND,
    ingress_class.KIND,
    ingress.KIND,
    ip_address.KIND,
    network_policy.KIND,
    service_cidr.KIND,
    pod_disruption_budget.KIND,
    role_binding.CLUSTER_ROLE_BINDING,
    role.CLUSTER_ROLE,
    role_binding.ROLE_BINDING,
    role.ROLE,
    csi_driver.KIND,
    csi_node.KIND,
    csi_storage_capacity.KIND,
    storage_class.KIND,
    volume_attachment.KIND,
    volume_attributes_class.KIND,
    mutating_webhook_configuration.KIND,
    validating_admission_policy.KIND,
    validating_admission_policy_binding.KIND,
    validating_webhook_configuration.KIND,
    mutating_admission_policy.KIND,
    mutating_admission_policy_binding.KIND,
    priority_class.KIND,
    lease.KIND,
    runtime_class.KIND,
    endpoint_slice.KIND,
    flow_schema.KIND,
    priority_level_configuration.KIND,
    device_class.KIND,
    resource_claim.KIND,
    resource_claim_template.KIND,
    resource_slice.KIND,
    exemption.KIND,
    finding.KIND,
)

_BY_RESOURCE = {(kind.resource.group, kind.resource.version, kind.resource.plural): kind for kind in KINDS}
_BY_KIND = {(kind.resource.group, kind.resource.version, kind.resource.kind): kind for kind in KINDS}


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at `/apis/group/version/plural`, if there is one."""
    return _BY_RESOURCE.get((group, version, plural))


def by_kind(group: str, version: str, kind: str) -> Kind | None:
    """The kind that objects with this `apiVersion` and `kind` are of, if it is served."""
    return _BY_KIND.get((group, version, kind))
