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
    at, grace = f"{path}.terminationGracePeriodSeconds", probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        problems.invalid(at, grace, "must be greater than 0")
    if name != "readinessProbe":
        if probe.get("successThreshold") != 1:
            problems.invalid(f"{path}.successThreshold", probe.get("successThreshold"), "must be 1")
    elif grace is not None:
        problems.invalid(at, grace, "must not be set for readinessProbes")


def check_lifecycle(lifecycle: Obj, grace: int | None, path: str, problems: Problems) -> None:
    """The hooks of a container whose pod ends within so many seconds."""
    for key in ("postStart", "preStop"):
        if key in lifecycle:
            _check_action(lifecycle[key], _HOOK_ACTIONS, f"{path}.{key}", problems, grace)
    if "stopSignal" in lifecycle:
        problems.one_of(f"{path}.stopSignal", lifecycle["stopSignal"], tuple(STOP_SIGNALS))


def _check_action(
    handler: Obj, actions: tuple[str, ...], path: str, problems: Problems, grace: int | None = None
) -> None:
    given = [key for key in actions if key in handler]
    if not given:
        problems.required(path, "must specify a handler type")
        return
    _check_target(given[0], handler[given[0]], f"{path}.{given[0]}", problems, grace)
    for extra in given[1:]:
        problems.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")


def _check_target(action: str, target: Obj, at: str, problems: Problems, grace: int | None) -> None:
    if action == "exec":
        if not target.get("command"):
            problems.required(f"{at}.command")
    elif action == "sleep":
        seconds = target.get("seconds", 0)
        if grace is not None and not 0 <= seconds <= grace:
            detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            problems.invalid(at, seconds, detail)
    elif action == "httpGet":
        _check_http(target, at, problems)
    else:
        check_port(target.get("port", 0), f"{at}.port", problems)


def _check_http(target: Obj, path: str, problems: Problems) -> None:
    if not target.get("path"):
        problems.required(f"{path}.path")
    check_port(target.get("port", 0), f"{path}.port", problems)
    problems.one_of(f"{path}.scheme", target.get("scheme"), ("HTTP", "HTTPS"))
    for header in target.get("httpHeaders") or ():
        name = header.get("name") or ""
        if _HEADER.fullmatch(name) is None:
            problems.invalid(
                f"{path}.httpHeaders",
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
