"""Rules for probes and life-cycle hooks. Source: `validateProbe` and `validateHandler` of Kubernetes."""

from __future__ import annotations

import re

from pilothouse.kinds.core.stop_signals import STOP_SIGNALS
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_PROBE_ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_ACTIONS = ("exec", "httpGet", "tcpSocket", "sleep")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_HEADER = re.compile("[-A-Za-z0-9]+")


def check_probe(probe: Obj, name: str, path: str, problems: Problems) -> None:
    """The probe called `name` (`livenessProbe`, …) of a container."""
    _check_action(probe, _PROBE_ACTIONS, path, problems)
    for key in _COUNTS:
        if (value := probe.get(key)) is not None and value < 0:
            problems.not_negative(f"{path}.{key}", value)
    if name != "readinessProbe" and probe.get("successThreshold") != 1:
        problems.invalid(f"{path}.successThreshold", probe.get("successThreshold"), "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is None:
        return
    at = f"{path}.terminationGracePeriodSeconds"
    if name == "readinessProbe":
        problems.invalid(at, grace, "must not be set for readinessProbes")
    elif grace <= 0:
        problems.invalid(at, grace, "must be greater than 0")


def check_lifecycle(lifecycle: Obj, path: str, problems: Problems) -> None:
    """The hooks of a container."""
    for key in ("postStart", "preStop"):
        if key in lifecycle:
            _check_action(lifecycle[key], _HOOK_ACTIONS, f"{path}.{key}", problems)
    if "stopSignal" in lifecycle:
        problems.one_of(f"{path}.stopSignal", lifecycle["stopSignal"], tuple(STOP_SIGNALS))


def _check_action(handler: Obj, actions: tuple[str, ...], path: str, problems: Problems) -> None:
    action = problems.exactly_one(path, handler, actions, "handler type")
    if action is None:
        return
    target, at = handler[action], f"{path}.{action}"
    if action == "exec":
        if not target.get("command"):
            problems.required(f"{at}.command")
    elif action == "sleep":
        if target.get("seconds", 0) < 0:
            problems.invalid(f"{at}.seconds", target["seconds"], "must be greater than or equal to 0")
    else:
        check_port(target.get("port", 0), f"{at}.port", problems)
        if action == "httpGet":
            _check_http(target, at, problems)


def _check_http(target: Obj, path: str, problems: Problems) -> None:
    if not target.get("path"):
        problems.required(f"{path}.path")
    problems.one_of(f"{path}.scheme", target.get("scheme"), ("HTTP", "HTTPS"))
    for index, header in enumerate(target.get("httpHeaders") or ()):
        name = header.get("name") or ""
        if _HEADER.fullmatch(name) is None:
            problems.invalid(
                f"{path}.httpHeaders[{index}].name",
                name,
                "a valid HTTP header must consist of alphanumeric characters or '-' "
                "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            )


def check_port(port: int | str, path: str, problems: Problems) -> None:
    """A port's number, or its name."""
    if isinstance(port, int):
        problems.within(path, port, 1, 65535)
    else:
        problems.invalid_each(path, port, names.port_name(port))
