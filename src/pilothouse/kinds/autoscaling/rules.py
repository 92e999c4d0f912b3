"""What makes an autoscaler acceptable. Source of the wording: upstream's autoscaling validation."""

from __future__ import annotations

from typing import Any

from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import NOT_NEGATIVE, Problems, section
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import InvalidQuantity, parse_quantity

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_POSITIVE = "must be greater than 0"
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


def check_autoscaler(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Reports what is wrong with the spec, unless it is what it was."""
    spec = section(obj, "spec")
    if old is not None and spec == section(old, "spec"):
        return
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    metrics = spec.get("metrics") or []
    if least is not None and least < 0:
        problems.invalid("spec.minReplicas", least, NOT_NEGATIVE)
    if most < 1:
        problems.invalid("spec.maxReplicas", most, _POSITIVE)
    if least is not None and most < least:
        problems.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = section(spec, "scaleTargetRef")
    _check_reference(target, "spec.scaleTargetRef", problems)
    before = None if old is None else section(section(old, "spec"), "scaleTargetRef")
    if before is None or any(before.get(key) != target.get(key) for key in ("kind", "apiVersion")):
        _check_group(target, problems)
    for index, metric in enumerate(metrics):
        _check_metric(metric, f"spec.metrics[{index}]", problems)
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        problems.forbidden(
            "spec.metrics", "must specify at least one Object or External metric to support scaling to zero replicas"
        )
    for key in ("scaleUp", "scaleDown"):
        rules = section(spec, "behavior").get(key)
        if rules is not None:
            _check_rules(rules, f"spec.behavior.{key}", problems)


def _check_reference(ref: Obj, path: str, problems: Problems) -> None:
    for key in ("kind", "name"):
        value = ref.get(key) or ""
        if not value:
            problems.required(f"{path}.{key}")
            continue
        if value in (".", ".."):
            problems.invalid(f"{path}.{key}", value, f"may not be '{value}'")
        for char in "/%":
            if char in value:
                problems.invalid(f"{path}.{key}", value, f"may not contain '{char}'")


def _check_group(target: Obj, problems: Problems) -> None:
    """What is scaled is told with its group; a ReplicationController has none."""
    path, version = "spec.scaleTargetRef.apiVersion", target.get("apiVersion") or ""
    if version.count("/") > 1:
        problems.invalid(path, version, f"unexpected GroupVersion string: {version}")
    elif not version.rpartition("/")[0] and target.get("kind") != "ReplicationController":
        problems.invalid(path, version, "apiVersion must specify API group")


def _check_metric(metric: Obj, path: str, problems: Problems) -> None:
    kind = metric.get("type") or ""
    if not kind:
        problems.required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        problems.unsupported(f"{path}.type", kind, _SOURCES)
    for key, check in _CHECKS.items():
        if key in metric:
            if kind in _SOURCES and _SOURCES[kind] != key:
                problems.forbidden(f"{path}.{key}", "must populate the given metric source only")
            check(metric[key], f"{path}.{key}", problems)
    if kind in _SOURCES and _SOURCES[kind] not in metric:
        problems.required(f"{path}.{_SOURCES[kind]}", "must populate information for the given metric source")


def _check_resource(source: Obj, path: str, problems: Problems) -> None:
    if not source.get("name"):
        problems.required(f"{path}.name", "must specify a resource name")
    target = section(source, "target")
    _check_target(target, f"{path}.target", problems)
    if "averageUtilization" in target and "averageValue" in target:
        problems.forbidden(
            f"{path}.target.averageValue", "may not set both a target raw value and a target utilization"
        )
    elif "averageUtilization" not in target and "averageValue" not in target:
        problems.required(
            f"{path}.target.averageUtilization", "must set either a target raw value or a target utilization"
        )


def _check_container(source: Obj, path: str, problems: Problems) -> None:
    if not source.get("container"):
        problems.required(f"{path}.container", "must specify a container")
    _check_resource(source, path, problems)


def _check_pods(source: Obj, path: str, problems: Problems) -> None:
    _check_identifier(section(source, "metric"), f"{path}.metric", problems)
    target = section(source, "target")
    _check_target(target, f"{path}.target", problems)
    if "averageValue" not in target:
        problems.required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def _check_object(source: Obj, path: str, problems: Problems) -> None:
    _check_reference(section(source, "describedObject"), f"{path}.describedObject", problems)
    _check_identifier(section(source, "metric"), f"{path}.metric", problems)
    target = section(source, "target")
    _check_target(target, f"{path}.target", problems)
    if "value" not in target and "averageValue" not in target:
        problems.required(f"{path}.target.averageValue", "must set either a target value or averageValue")


def _check_external(source: Obj, path: str, problems: Problems) -> None:
    _check_identifier(section(source, "metric"), f"{path}.metric", problems)
    target = section(source, "target")
    _check_target(target, f"{path}.target", problems)
    both = "value" in target and "averageValue" in target
    if both:
        problems.forbidden(f"{path}.target.value", "may not set both a target value for metric and a per-pod target")
    elif "value" not in target and "averageValue" not in target:
        problems.required(
            f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target"
        )


_CHECKS = {
    "object": _check_object,
    "external": _check_external,
    "pods": _check_pods,
    "resource": _check_resource,
    "containerResource": _check_container,
}


def _check_identifier(metric: Obj, path: str, problems: Problems) -> None:
    name = metric.get("name") or ""
    if not name:
        problems.required(f"{path}.name", "must specify a metric name")
    for char in "/%":
        if char in name:
            problems.invalid(f"{path}.name", name, f"may not contain '{char}'")
    if "selector" in metric:
        check_label_selector(metric["selector"], f"{path}.selector", problems)


def _check_target(target: Obj, path: str, problems: Problems) -> None:
    kind = target.get("type") or ""
    if not kind:
        problems.required(f"{path}.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        problems.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        if key in target:
            _check_positive(target[key], f"{path}.{key}", problems)
    if target.get("averageUtilization", 1) < 1:
        problems.invalid(f"{path}.averageUtilization", target["averageUtilization"], _POSITIVE)


def _check_positive(quantity: Any, path: str, problems: Problems) -> None:
    try:
        if parse_quantity(quantity) <= 0:
            problems.invalid(path, quantity, "must be positive")
    except InvalidQuantity as error:
        problems.invalid(path, quantity, str(error))


def _check_rules(rules: Obj, path: str, problems: Problems) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        problems.invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    elif window is not None and window > _LONGEST_WINDOW:
        problems.invalid(
            f"{path}.stabilizationWindowSeconds", window, f"must be less than or equal to {_LONGEST_WINDOW}"
        )
    problems.one_of(f"{path}.selectPolicy", rules.get("selectPolicy"), ("Disabled", "Max", "Min"), required=False)
    if "tolerance" in rules:
        try:
            if parse_quantity(rules["tolerance"]) < 0:
                problems.invalid(f"{path}.tolerance", rules["tolerance"], NOT_NEGATIVE)
        except InvalidQuantity as error:
            problems.invalid(f"{path}.tolerance", rules["tolerance"], str(error))
    if not rules.get("policies"):
        problems.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        _check_policy(policy, f"{path}.policies[{index}]", problems)


_POLICIES = ("Percent", "Pods")


def _check_policy(policy: Obj, path: str, problems: Problems) -> None:
    if policy.get("type") not in _POLICIES:
        problems.unsupported(f"{path}.type", policy.get("type") or "", _POLICIES)
    if policy.get("value", 0) <= 0:
        problems.invalid(f"{path}.value", policy.get("value", 0), "must be greater than zero")
    period = policy.get("periodSeconds", 0)
    if period <= 0:
        problems.invalid(f"{path}.periodSeconds", period, "must be greater than zero")
    elif period > _LONGEST_PERIOD:
        problems.invalid(f"{path}.periodSeconds", period, f"must be less than or equal to {_LONGEST_PERIOD}")
