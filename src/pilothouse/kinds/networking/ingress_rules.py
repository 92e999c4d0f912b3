"""Rules of Ingress. Source: `ValidateIngress` of Kubernetes."""

from __future__ import annotations

import ipaddress

from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")


def check_ingress(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The rules for an Ingress and for its update."""
    spec = section(obj, "spec")
    if old is not None and spec == section(old, "spec"):
        return
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and not default:
        problems.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    if default:
        _check_backend(default, "spec.defaultBackend", problems)
    for index, rule in enumerate(rules):
        _check_rule(rule, f"spec.rules[{index}]", problems)
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            _check_host(host, f"spec.tls[{index}].hosts[{position}]", problems)
        name = tls.get("secretName") or ""
        if name:
            problems.invalid_each(f"spec.tls[{index}].secretName", name, names.dns1123_subdomain(name))
    class_name = spec.get("ingressClassName")
    if class_name is not None:
        problems.invalid_each("spec.ingressClassName", class_name, names.dns1123_subdomain(class_name))


def _check_rule(rule: Obj, path: str, problems: Problems) -> None:
    host = rule.get("host") or ""
    if host:
        try:
            ipaddress.ip_address(host)
            problems.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        except ValueError:
            _check_host(host, f"{path}.host", problems)
    if not rule.get("http"):
        return
    paths = section(rule, "http").get("paths") or []
    if not paths:
        problems.required(f"{path}.http.paths")
    for index, entry in enumerate(paths):
        at = f"{path}.http.paths[{index}]"
        _check_path(entry, at, problems)
        _check_backend(section(entry, "backend"), f"{at}.backend", problems)


def _check_host(host: str, path: str, problems: Problems) -> None:
    if host.startswith("*."):
        problems.invalid_each(path, host, names.dns1123_subdomain(host[2:]))
    else:
        problems.invalid_each(path, host, names.dns1123_subdomain(host))


def _check_path(entry: Obj, at: str, problems: Problems) -> None:
    kind, path = entry.get("pathType"), entry.get("path") or ""
    if not kind:
        problems.required(f"{at}.pathType", "pathType must be specified")
        return
    if kind not in PATH_TYPES:
        problems.unsupported(f"{at}.pathType", kind, PATH_TYPES)
        return
    if kind == "ImplementationSpecific" and not path:
        return
    if not path.startswith("/"):
        problems.invalid(f"{at}.path", path, "must be an absolute path")
        return
    if any(not 0x21 <= ord(character) < 0x7F or character in "\"'\\#{}" for character in path):
        problems.invalid(f"{at}.path", path, "must hold printable ASCII without quotes, braces, backslash and #")
    if kind == "ImplementationSpecific":
        return
    for sequence in _SEQUENCES:
        if sequence in path:
            problems.invalid(f"{at}.path", path, f"must not contain '{sequence}'")
    for suffix in _SUFFIXES:
        if path.endswith(suffix):
            problems.invalid(f"{at}.path", path, f"cannot end with '{suffix}'")


def _check_backend(backend: Obj, path: str, problems: Problems) -> None:
    if backend.get("resource"):
        problems.forbidden(f"{path}.resource", "only services are served by Pilothouse")
        return
    service = section(backend, "service")
    if not service:
        problems.required(path, "must specify a service")
        return
    name, port = service.get("name") or "", section(service, "port")
    if not name:
        problems.required(f"{path}.service.name")
    else:
        problems.invalid_each(f"{path}.service.name", name, names.dns1035_label(name))
    if port.get("name") and port.get("number"):
        problems.invalid(f"{path}.service.port", port.get("name"), "cannot set both port name & port number")
    elif port.get("name"):
        problems.invalid_each(f"{path}.service.port.name", port["name"], names.dns1123_label(port["name"]))
    elif port.get("number"):
        problems.within(f"{path}.service.port.number", port["number"], 1, 65535)
    else:
        problems.required(f"{path}.service.port", "port name or number is required")
