"""APIService."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class ServiceReference(View):
    namespace: str = ""
    name: str = ""
    port: int | None = None


class APIServiceSpec(View):
    service: ServiceReference | None = None
    group: str = ""
    version: str = ""
    group_priority_minimum: int = 0
    version_priority: int = 0
    ca_bundle: str = ""
    insecure_skip_tls_verify: bool = msgspec.field(default=False, name="insecureSkipTLSVerify")


class APIServiceStatus(View):
    conditions: list[Condition] = []


class APIService(Object):
    """Without a service it stands for what this server serves itself."""

    resource: ClassVar[Resource] = Resource("apiregistration.k8s.io", "v1", "APIService", "apiservices", False)

    spec: APIServiceSpec = msgspec.field(default_factory=APIServiceSpec)
    status: APIServiceStatus = msgspec.field(default_factory=APIServiceStatus)


def _defaults(obj: Obj) -> None:
    service = section(section(obj, "spec"), "service")
    if service:
        service.setdefault("port", 443)


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    group, version = spec.get("group") or "", spec.get("version") or ""
    name = obj["metadata"].get("name")
    if name != f"{version}.{group}":
        problems.invalid("metadata.name", name, f"must be `{version}.{group}`")
    if not group and version != "v1":
        problems.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    elif group:
        problems.invalid_each("spec.group", group, names.dns1123_subdomain(group))
    problems.invalid_each("spec.version", version, names.dns1035_label(version))
    _check_priorities(spec, problems)
    service = spec.get("service")
    if service is None:
        for key in ("caBundle", "insecureSkipTLSVerify"):
            if spec.get(key):
                problems.invalid(f"spec.{key}", spec[key], "local APIServices may not have TLS settings")
        return
    for key in ("namespace", "name"):
        if not service.get(key):
            problems.required(f"spec.service.{key}")
    if not 1 <= service.get("port", 443) <= 65535:
        why = "port is not valid: must be between 1 and 65535, inclusive"
        problems.invalid("spec.service.port", service["port"], why)
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        problems.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def _check_priorities(spec: Obj, problems: Problems) -> None:
    minimum, priority = spec.get("groupPriorityMinimum") or 0, spec.get("versionPriority") or 0
    if not 0 < minimum <= 20000:
        problems.invalid("spec.groupPriorityMinimum", minimum, "must be positive and less than 20000")
    if not 0 < priority <= 1000:
        problems.invalid("spec.versionPriority", priority, "must be positive and less than 1000")


def _service(obj: Obj) -> str:
    service = section(section(obj, "spec"), "service")
    return f"{service.get('namespace')}/{service.get('name')}" if service else "Local"


def _available(obj: Obj) -> str:
    for condition in section(obj, "status").get("conditions") or ():
        if condition.get("type") == "Available":
            holds = condition.get("status") == "True"
            return "True" if holds else f"{condition.get('status')} ({condition.get('reason', '')})"
    return "Unknown"


KIND = Kind(
    view=APIService,
    categories=("api-extensions",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Service", _service, "The reference to the service that hosts this API endpoint."),
        Column("Available", _available, "Whether this service is available."),
        AGE,
    ),
    name_rule=names.path_segment,
    defaults=_defaults,
    rules=_rules,
    bare_finalizers=True,
)
