"""NetworkPolicy."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column, selector_text
from pilothouse.kinds.core.probe_validation import check_port
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class IPBlock(View):
    cidr: str = ""
    except_: list[str] = []


class NetworkPolicyPeer(View):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(View):
    """No port means all ports; a name is a container port's name; `end_port` makes a range."""

    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class NetworkPolicyIngressRule(View):
    ports: list[NetworkPolicyPort] = []
    from_: list[NetworkPolicyPeer] = []


class NetworkPolicyEgressRule(View):
    ports: list[NetworkPolicyPort] = []
    to: list[NetworkPolicyPeer] = []


class NetworkPolicySpec(View):
    pod_selector: LabelSelector = msgspec.field(default_factory=LabelSelector)
    policy_types: list[str] = []
    ingress: list[NetworkPolicyIngressRule] = []
    egress: list[NetworkPolicyEgressRule] = []


class NetworkPolicy(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True)

    spec: NetworkPolicySpec = msgspec.field(default_factory=NetworkPolicySpec)


_TYPES = ["Ingress", "Egress"]
_PROTOCOLS = ["TCP", "UDP", "SCTP"]


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is not None and spec == section(old, "spec"):
        return
    check_label_selector(section(spec, "podSelector"), "spec.podSelector", problems)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _check_port(port, f"{path}.ports[{position}]", problems)
            for position, peer in enumerate(rule.get(peers) or ()):
                _check_peer(peer, f"{path}.{peers}[{position}]", problems)
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        problems.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
    for index, kind in enumerate(types):
        if kind not in _TYPES:
            problems.unsupported(f"spec.policyTypes[{index}]", kind, _TYPES)


def _check_port(port: Obj, path: str, problems: Problems) -> None:
    if (protocol := port.get("protocol")) is not None and protocol not in _PROTOCOLS:
        problems.unsupported(f"{path}.protocol", protocol, _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    at = f"{path}.endPort"
    if end is not None and not isinstance(number, int):
        why = "not specified" if number is None else "non-numeric"
        problems.invalid(at, end, f"may not be specified when `port` is {why}")
    if number is not None:
        check_port(number, f"{path}.port", problems)
    if end is not None and isinstance(number, int):
        if end < number:
            problems.invalid(at, number, "must be greater than or equal to `port`")
        problems.within(at, end, 1, 65535)


def _check_peer(peer: Obj, path: str, problems: Problems) -> None:
    for key in ("podSelector", "namespaceSelector"):
        if key in peer:
            check_label_selector(peer[key], f"{path}.{key}", problems)
    if "ipBlock" in peer:
        _check_block(peer["ipBlock"], f"{path}.ipBlock", problems)
        if len(peer) > 1:
            problems.forbidden(path, "may not specify both ipBlock and another peer")
    if not peer:
        problems.required(path, "must specify a peer")


def _check_block(block: Obj, path: str, problems: Problems) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        problems.required(f"{path}.cidr")
        return
    whole = _network(cidr, f"{path}.cidr", problems)
    if whole is None:
        return
    for index, text in enumerate(block.get("except") or ()):
        part = _network(text, f"{path}.except[{index}]", problems)
        if part is None:
            continue
        if part.version != whole.version or part == whole or not _inside(part, whole):
            problems.invalid(f"{path}.except[{index}]", text, "must be a strict subset of `cidr`")


def _inside(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    return part.network_address in whole and part.prefixlen > whole.prefixlen


def _network(text: str, path: str, problems: Problems) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        problems.invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        return None


KIND = Kind(
    view=NetworkPolicy,
    short_names=("netpol",),
    columns=(
        NAME,
        Column(
            "Pod-Selector", lambda obj: selector_text(section(obj, "spec").get("podSelector")), "Pods it applies to."
        ),
        AGE,
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
