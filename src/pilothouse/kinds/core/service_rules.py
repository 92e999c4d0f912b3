"""Defaults of Services, what an update carries over, and their rules.

Source: `SetDefaults_Service`, `ValidateService` and the service registry's `patchAllocatedValues` of Kubernetes.
Whether an address or node port is free is for the allocators of the API server to say.
"""

from __future__ import annotations

import ipaddress

from pilothouse.kinds.core.container_validation import PROTOCOLS, check_ip
from pilothouse.kinds.core.probe_validation import check_port
from pilothouse.kinds.families import FAMILIES, family_of
from pilothouse.kinds.metadata import check_labels
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

NODE_PORTS = (30000, 32767)
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
HEADLESS = "None"

_EXTERNAL = ("LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_AFFINITY_SECONDS = 10800
_DAY = 86400


def default_service(obj: Obj) -> None:
    """Fills in a Service's spec."""
    spec = obj.setdefault("spec", {})
    kind = spec["type"] = spec.get("type") or "ClusterIP"
    spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports") or ():
        port["protocol"] = port.get("protocol") or "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if (kind in _EXTERNAL or spec.get("externalIPs")) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def carry_over(new: Obj, old: Obj) -> None:
    """Keeps allocated addresses and node ports that an update leaves out; gives up those its type has no use for."""
    spec, before = section(new, "spec"), section(old, "spec")
    if spec.get("type") == "ExternalName":
        if spec.get("clusterIP") == before.get("clusterIP"):
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
                spec.pop(key, None)
    elif before.get("type") != "ExternalName":
        for key in ("clusterIP", "clusterIPs"):
            if not spec.get(key) and before.get(key):
                spec[key] = before[key]
        # A client that knows of one address only puts that one back.
        knows_one = "ipFamilies" not in spec and "ipFamilyPolicy" not in spec
        if knows_one and spec.get("clusterIPs") == (before.get("clusterIPs") or ())[:1]:
            spec["clusterIPs"] = before["clusterIPs"]
    if spec.get("type") in _EXTERNAL and before.get("type") in _EXTERNAL:
        _keep_node_ports(spec, before)
    elif spec.get("type") not in _EXTERNAL and before.get("type") in _EXTERNAL:
        kept = {port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in kept:
                port.pop("nodePort", None)
        if spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy") and not spec.get("externalIPs"):
            spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)


def _keep_node_ports(spec: Obj, before: Obj) -> None:
    held = {
        (port.get("protocol"), port.get("name") or ""): port["nodePort"]
        for port in before.get("ports") or ()
        if port.get("nodePort")
    }
    used = {port.get("nodePort") for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        node_port = held.get((port.get("protocol"), port.get("name") or ""))
        if not port.get("nodePort") and node_port is not None and node_port not in used:
            port["nodePort"] = node_port


def check_service(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The rules for a Service and for its update."""
    spec = section(obj, "spec")
    if old is not None:
        before = section(old, "spec")
        if spec == before:
            return
        _check_address_change(spec, before, problems)
    kind = spec.get("type")
    problems.one_of("spec.type", kind, TYPES)
    check_labels(spec.get("selector"), "spec.selector", problems)
    if kind == "ExternalName":
        _check_external_name(spec, problems)
    else:
        if not spec.get("ports") and spec.get("clusterIP") != HEADLESS:
            problems.required("spec.ports")
        _check_addresses(spec, problems)
    _check_ports(spec, problems)
    _check_affinity(spec, problems)
    _check_policies(spec, problems)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        check_ip(address, f"spec.externalIPs[{index}]", problems)
        _check_special(address, f"spec.externalIPs[{index}]", problems)


def _check_special(text: str, path: str, problems: Problems) -> None:
    """Source: `ValidateNonSpecialIP`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if address.is_unspecified:
        problems.invalid(path, text, f"may not be unspecified ({text})")
    elif address.is_loopback:
        problems.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    elif address.is_link_local:
        problems.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    elif address.is_multicast and (text.startswith("224.0.0.") or address.version == 6):
        problems.invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _check_address_change(spec: Obj, old: Obj, problems: Problems) -> None:
    """Source: `validateUpgradeDowngradeClusterIPs`, `validateUpgradeDowngradeIPFamilies`."""
    headless = [HEADLESS]
    addresses, had = spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    if "ExternalName" in (spec.get("type"), old.get("type")) or (addresses == headless and had == headless):
        return
    policy = spec.get("ipFamilyPolicy")
    _check_kept("clusterIPs", "clusterIP", addresses, had, policy, problems)
    if (addresses == headless) == (had == headless):
        families, former = spec.get("ipFamilies") or [], old.get("ipFamilies") or []
        _check_kept("ipFamilies", "ipFamily", families, former, policy, problems)


def _check_kept(field: str, one: str, new: list[str], old: list[str], policy: object, problems: Problems) -> None:
    """The first value stays; the second may come, and go with the policy that says so."""
    for index, (value, former) in enumerate(zip(new, old, strict=False)):
        if value != former:
            problems.invalid(f"spec.{field}[{index}]", new, "may not change once set")
    if old and not new:
        problems.invalid(f"spec.{field}[0]", new, f"primary {one} can not be unset")
    elif len(new) == 1 and len(old) == 2 and policy != "SingleStack":
        why = f"must be set to 'SingleStack' when releasing the secondary {one}"
        problems.invalid("spec.ipFamilyPolicy", policy, why)


def _check_external_name(spec: Obj, problems: Problems) -> None:
    if spec.get("clusterIP"):
        problems.forbidden("spec.clusterIPs[0]", "may not be set when type is ExternalName")
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        problems.required("spec.externalName")
    else:
        problems.invalid_each("spec.externalName", name, names.dns1123_subdomain(name))


def _check_addresses(spec: Obj, problems: Problems) -> None:
    """Source: `ValidateServiceClusterIPsRelatedFields`. Which families the cluster has is for the allocator to say."""
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if addresses and addresses[0] != address:
        problems.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        if family not in FAMILIES:
            problems.unsupported(f"spec.ipFamilies[{index}]", family, FAMILIES)
        if family in families[:index]:
            problems.duplicate(f"spec.ipFamilies[{index}]", family)
    problems.one_of("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), _FAMILY_POLICIES, required=False)
    if len(addresses) > 2:
        problems.invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")
    if address == HEADLESS:
        if len(addresses) > 1:
            problems.invalid("spec.clusterIPs", addresses, "'None' must be the first and only value")
        if spec.get("type") in _EXTERNAL:
            problems.invalid(
                "spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.get('type')} services"
            )
        return
    before = len(problems)
    for index, text in enumerate(addresses or ([address] if address else ())):
        check_ip(text, f"spec.clusterIPs[{index}]", problems)
    if len(problems) > before:
        return
    found = [family_of(text) for text in addresses]
    if len(set(found)) < len(found):
        problems.invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family")
    for index, (text, family) in enumerate(zip(addresses, families, strict=False)):
        if family in FAMILIES and family_of(text) != family:
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            problems.invalid(f"spec.clusterIPs[{index}]", text, why)


def _check_ports(spec: Obj, problems: Problems) -> None:
    ports = spec.get("ports") or []
    seen_names: set[str] = set()
    seen_ports: set[tuple[object, object]] = set()
    seen_node_ports: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        at, name, protocol = f"spec.ports[{index}]", port.get("name") or "", port.get("protocol")
        if name:
            problems.invalid_each(f"{at}.name", name, names.dns1123_label(name))
            if name in seen_names:
                problems.duplicate(f"{at}.name", name)
            seen_names.add(name)
        elif len(ports) > 1:
            problems.required(f"{at}.name")
        problems.within(f"{at}.port", port.get("port", 0), 1, 65535)
        problems.one_of(f"{at}.protocol", protocol, PROTOCOLS)
        check_port(port.get("targetPort", 0), f"{at}.targetPort", problems)
        if (protocol, port.get("port")) in seen_ports:
            problems.duplicate(at, {"protocol": protocol, "port": port.get("port")})
        seen_ports.add((protocol, port.get("port")))
        if port.get("nodePort"):
            if (protocol, port["nodePort"]) in seen_node_ports:
                problems.duplicate(f"{at}.nodePort", port["nodePort"])
            seen_node_ports.add((protocol, port["nodePort"]))
            _check_node_port(port["nodePort"], spec, f"{at}.nodePort", problems)


def _check_node_port(node_port: int, spec: Obj, path: str, problems: Problems) -> None:
    low, high = NODE_PORTS
    if spec.get("type") not in _EXTERNAL:
        problems.forbidden(path, f"may not be used when `type` is '{spec.get('type')}'")
    elif not low <= node_port <= high:
        problems.invalid(
            path, node_port, f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        )


def _check_affinity(spec: Obj, problems: Problems) -> None:
    affinity = spec.get("sessionAffinity")
    problems.one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    if affinity == "ClientIP":
        seconds = section(section(spec, "sessionAffinityConfig"), "clientIP").get("timeoutSeconds", 0)
        if not 0 < seconds <= _DAY:
            problems.invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {_DAY}",
            )


def _check_policies(spec: Obj, problems: Problems) -> None:
    problems.one_of(
        "spec.internalTrafficPolicy",
        spec.get("internalTrafficPolicy"),
        _POLICIES,
        required=spec.get("type") != "ExternalName",
    )
    external = spec.get("externalTrafficPolicy")
    if external and spec.get("type") not in _EXTERNAL and not spec.get("externalIPs"):
        problems.invalid("spec.externalTrafficPolicy", external, "may only be set for externally-accessible services")
    problems.one_of("spec.externalTrafficPolicy", external, _POLICIES, required=False)
    problems.one_of("spec.trafficDistribution", spec.get("trafficDistribution"), _DISTRIBUTIONS, required=False)
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges and spec.get("type") != "LoadBalancer":
        problems.forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    for index, text in enumerate(ranges):
        try:
            ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            problems.invalid(
                f"spec.LoadBalancerSourceRanges[{index}]",
                text,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            )
