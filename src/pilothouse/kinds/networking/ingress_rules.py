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
    rules, default = spec.get("rules"), spec.get("defaultBackend")
    if not rules and default is None:
        problems.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if default is not None:
        _check_backend(default, "spec.defaultBackend", problems)
    for index, rule in enumerate(rules or ()):
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
        if _is_address(host):
            problems.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        _check_host(host, f"{path}.host", problems)
    if rule.get("http") is None:
        return
    paths = section(rule, "http").get("paths") or []
    if not paths:
        problems.required(f"{path}.http.paths")
    for index, entry in enumerate(paths):
        at = f"{path}.http.paths[{index}]"
        if not entry.get("pathType"):
            problems.required(f"{at}.pathType", "pathType must be specified")
            continue
        _check_path(entry, at, problems)
        _check_backend(section(entry, "backend"), f"{at}.backend", problems)


def _check_host(host: str, path: str, problems: Problems) -> None:
    rule = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
    problems.invalid_each(path, host, rule(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_path(entry: Obj, at: str, problems: Problems) -> None:
    kind, path = entry.get("pathType"), entry.get("path") or ""
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
    if backend.get("resource") is not None:
        if backend.get("service") is not None:
            problems.invalid(path, "", "cannot set both resource and service backends")
        problems.forbidden(f"{path}.resource", "only services are served by Pilothouse")
        return
    service = backend.get("service")
    if service is None:
        problems.invalid(path, "", "resource or service backend is required")
        return
    name, port = service.get("name") or "", section(service, "port")
    if not name:
        problems.required(f"{path}.service.name")
    else:
        problems.invalid_each(f"{path}.service.name", name, names.dns1035_label(name))
    if port.get("name") and port.get("number"):
        problems.invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        problems.invalid_each(f"{path}.service.port.name", port["name"], names.port_name(port["name"]))
    elif port.get("number"):
        problems.within(f"{path}.service.port.number", port["number"], 1, 65535)
    else:
        problems.required(path, "port name or number is required")
