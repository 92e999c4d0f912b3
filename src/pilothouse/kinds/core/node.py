"""Node."""

from __future__ import annotations

import ipaddress
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, UNKNOWN, Column, field
from pilothouse.kinds.core.placement_validation import TAINT_EFFECTS
from pilothouse.kinds.core.quantities import canonical_quantities, check_quantity
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

ZONE = "topology.kubernetes.io/zone"
"""Label: the zone a node stands in."""


class Taint(View):
    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str | None = None


class NodeSpec(View):
    pod_cidr: str = ""
    pod_cidrs: list[str] = []
    provider_id: str = ""
    unschedulable: bool = False
    taints: list[Taint] = []


class NodeAddress(View):
    type: str = ""
    address: str = ""


class DaemonEndpoint(View):
    port: int = msgspec.field(default=0, name="Port")


class NodeDaemonEndpoints(View):
    kubelet_endpoint: DaemonEndpoint = msgspec.field(default_factory=DaemonEndpoint)


class NodeSystemInfo(View):
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""


class ContainerImage(View):
    names: list[str] = []
    size_bytes: int = 0


class NodeStatus(View):
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    phase: str = ""
    conditions: list[Condition] = []
    addresses: list[NodeAddress] = []
    daemon_endpoints: NodeDaemonEndpoints = msgspec.field(default_factory=NodeDaemonEndpoints)
    node_info: NodeSystemInfo = msgspec.field(default_factory=NodeSystemInfo)
    images: list[ContainerImage] = []
    volumes_in_use: list[str] = []


class Node(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Node", "nodes", False)

    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _defaults(obj: Obj) -> None:
    spec, status = obj.setdefault("spec", {}), section(obj, "status")
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    if status.get("capacity"):
        canonical_quantities(status["capacity"])
        status["allocatable"] = status.get("allocatable") or dict(status["capacity"])
        canonical_quantities(status["allocatable"])


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at = f"metadata.taints[{index}]"  # where upstream says they are
        _check_taint(taint, at, problems)
        identity = (taint.get("key") or "", taint.get("effect") or "")
        if identity in seen:
            problems.duplicate(at, taint)
        seen.add(identity)
    for key in ("capacity", "allocatable"):
        for name, amount in section(section(obj, "status"), key).items():
            check_quantity(amount, f"status.{key}[{name}]", problems)
    _check_ranges(spec.get("podCIDRs") or [], problems)
    if old is not None:
        before = section(old, "spec")
        if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
            problems.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        if before.get("providerID") and spec.get("providerID") != before["providerID"]:
            problems.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')


def _check_ranges(ranges: list[str], problems: Problems) -> None:
    """Ranges of pods' addresses: one of a family. Source: `ValidateNode`."""
    families: list[int] = []
    for index, text in enumerate(ranges):
        try:
            families.append(ipaddress.ip_network(text, strict=False).version)
        except ValueError:
            problems.invalid(
                f"spec.podCIDRs[{index}]", text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            )
    if len(families) == len(ranges) and len(set(families)) < len(families):
        problems.invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family")


def _check_taint(taint: Obj, path: str, problems: Problems) -> None:
    key, value = taint.get("key") or "", taint.get("value") or ""
    problems.invalid_each(f"{path}.key", key, names.label_key(key))
    if messages := names.label_value(value):
        problems.invalid(f"{path}.value", value, ";".join(messages))
    problems.one_of(f"{path}.effect", taint.get("effect"), TAINT_EFFECTS)


def _state(obj: Obj) -> str:
    conditions = section(obj, "status").get("conditions") or ()
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{state},SchedulingDisabled" if section(obj, "spec").get("unschedulable") else state


def _roles(obj: Obj) -> str:
    roles: set[str] = set()
    for key, value in section(section(obj, "metadata"), "labels").items():
        if key.startswith(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL:
            roles.add(value)
    return ",".join(sorted(roles - {""})) or NONE


def _address(kind: str, obj: Obj) -> str:
    addresses = section(obj, "status").get("addresses") or ()
    return next((address.get("address", NONE) for address in addresses if address.get("type") == kind), NONE)


KIND = Kind(
    view=Node,
    short_names=("no",),
    subresources=frozenset({"proxy", "status"}),
    columns=(
        NAME,
        Column("Status", _state, "Whether it is ready, and whether pods are kept off it."),
        Column("Roles", _roles, "Roles it is labelled with."),
        AGE,
        Column("Version", field("status", "nodeInfo", "kubeletVersion"), "Version of its node agent."),
        Column("Internal-IP", lambda obj: _address("InternalIP", obj), "Address inside the cluster.", priority=1),
        Column("External-IP", lambda obj: _address("ExternalIP", obj), "Address from outside.", priority=1),
        Column("OS-Image", field("status", "nodeInfo", "osImage", default=UNKNOWN), "Operating system.", priority=1),
        Column("Kernel-Version", field("status", "nodeInfo", "kernelVersion", default=UNKNOWN), "Kernel.", priority=1),
        Column(
            "Container-Runtime",
            field("status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN),
            "Container runtime and its version.",
            priority=1,
        ),
    ),
    # A node registers itself with its addresses and capacity in one request.
    status_at_creation=True,
    defaults=_defaults,
    rules=_rules,
    fields=lambda obj: {"spec.unschedulable": "true" if section(obj, "spec").get("unschedulable") else "false"},
)
