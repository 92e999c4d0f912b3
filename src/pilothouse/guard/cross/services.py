"""Services and Ingresses that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import CrossCheck, Entry, Hit, Snapshot, labels_of, selector_of
from pilothouse.machinery.objects import Obj


def selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    for service in snapshot.of("Service"):
        if labels_of(service.at("spec.selector")) and not snapshot.serving(service):
            yield Hit(service, "selects no pods", "spec.selector")


def unknown_target_port(snapshot: Snapshot) -> Iterator[Hit]:
    for service in snapshot.of("Service"):
        behind = snapshot.serving(service)
        for index, port in enumerate(service.entries("spec.ports")):
            target = port.get("targetPort", port.get("port"))
            if behind and not any(_listens(workload, target) for workload in behind):
                yield Hit(service, f"target port {target} is no port of the pods it selects", f"spec.ports[{index}]")


def _listens(workload: Entry, target: object) -> bool:
    """Whether a container declares the port; a number may be listened on undeclared if a container declares none."""
    assert workload.pod is not None
    declared = [
        port
        for _, container in workload.pod.containers("containers", "initContainers")
        for port in container.get("ports") or ()
        if isinstance(port, dict)
    ]
    if isinstance(target, int) and not declared:
        return True
    return any(target in (port.get("name"), port.get("containerPort")) for port in declared)


def ingress_without_service(snapshot: Snapshot) -> Iterator[Hit]:
    for ingress in snapshot.of("Ingress"):
        for path, backend in _backends(ingress):
            wanted = backend.get("service")
            if not isinstance(wanted, dict):
                continue
            service = snapshot.find("Service", ingress.namespace, str(wanted.get("name")))
            if service is None:
                yield Hit(ingress, f"leads to Service {wanted.get('name')}, which does not exist", path)
            elif not _has_port(service, wanted.get("port") or {}):
                yield Hit(ingress, f"leads to a port that Service {service.name} does not have", path)


def _backends(ingress: Entry) -> Iterator[tuple[str, Obj]]:
    default = ingress.at("spec.defaultBackend")
    if isinstance(default, dict):
        yield "spec.defaultBackend", default
    for index, rule in enumerate(ingress.entries("spec.rules")):
        for place, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            yield f"spec.rules[{index}].http.paths[{place}].backend", path.get("backend") or {}


def _has_port(service: Entry, port: Obj) -> bool:
    key, value = ("name", port["name"]) if "name" in port else ("port", port.get("number"))
    return any(entry.get(key) == value for entry in service.entries("spec.ports"))


def stateful_set_without_service(snapshot: Snapshot) -> Iterator[Hit]:
    for workload in snapshot.of("StatefulSet"):
        name = str(workload.at("spec.serviceName") or "")
        service = snapshot.find("Service", workload.namespace, name)
        if service is None or service.at("spec.clusterIP") != "None":
            wanted = f"Service {name}, which is no headless Service here" if name else "no headless Service"
            yield Hit(workload, f"names {wanted}", "spec.serviceName")


def monitor_without_service(snapshot: Snapshot) -> Iterator[Hit]:
    """ServiceMonitors of the Prometheus operator, unless they look into namespaces of their own choosing."""
    for monitor in snapshot.of("ServiceMonitor"):
        selector = selector_of(monitor.at("spec.selector"))
        if selector is None or monitor.at("spec.namespaceSelector"):
            continue
        services = (entry for entry in snapshot.of("Service") if entry.namespace == monitor.namespace)
        if not any(selector.matches(labels_of(service.at("metadata.labels"))) for service in services):
            yield Hit(monitor, "selects no Service", "spec.selector")


CHECKS = (
    CrossCheck(
        Check(
            "service-selects-nothing",
            "Service selects no pods",
            Severity.HIGH,
            "reliability",
            "Connections to it are refused.",
            "spec:\n  selector: {app: NAME}   # labels of the pods' template",
            other_names="kube-linter: dangling-service; kube-score: service-targets-pod",
        ),
        selects_nothing,
    ),
    CrossCheck(
        Check(
            "service-target-port-unknown",
            "Service leads to a port nobody declares",
            Severity.HIGH,
            "reliability",
            "A named port that no container has gets no endpoints; a wrong number is refused.",
            "ports:\n  - {port: 80, targetPort: http}   # a port of the container",
            other_names="kube-linter: invalid-target-ports",
        ),
        unknown_target_port,
    ),
    CrossCheck(
        Check(
            "ingress-service-missing",
            "Ingress leads to a missing Service or port",
            Severity.HIGH,
            "reliability",
            "Requests are answered with an error.",
            "backend:\n  service: {name: NAME, port: {name: http}}",
            other_names="kube-linter: dangling-ingress; kube-score: ingress-targets-service",
        ),
        ingress_without_service,
    ),
    CrossCheck(
        Check(
            "stateful-set-service-missing",
            "StatefulSet without its headless Service",
            Severity.MEDIUM,
            "reliability",
            "Its pods have no stable names in DNS.",
            "kind: Service\nspec:\n  clusterIP: None\n  selector: {app: NAME}",
            other_names="kube-score: statefulset-has-servicename",
        ),
        stateful_set_without_service,
    ),
    CrossCheck(
        Check(
            "service-monitor-selects-nothing",
            "ServiceMonitor selects no Service",
            Severity.MEDIUM,
            "reliability",
            "Nothing is measured, and no alarm ever rings.",
            "spec:\n  selector: {matchLabels: {app: NAME}}   # labels of the Service itself",
            other_names="kube-linter: dangling-servicemonitor",
        ),
        monitor_without_service,
    ),
)
