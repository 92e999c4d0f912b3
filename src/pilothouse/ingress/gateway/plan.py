"""Which request goes where, from Gateways and HTTPRoutes: a plan without choices left, and what is said of each. Pure.

Source of the rules (attachment, intersection of host names, precedence, references): the Gateway API's
specification, v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pilothouse.ingress.gateway.refusals import HOST, unsupported
from pilothouse.ingress.gateway.views import (
    GROUP,
    BackendReference,
    Gateway,
    GatewayClass,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    Listener,
    ParentReference,
    ReferenceGrant,
    SecretReference,
)
from pilothouse.ingress.routes import Backend, Certificate, service_backend
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.selectors import from_label_selector

CONTROLLER = "pilothouse.io/gateway"
"""The `spec.controllerName` of the GatewayClasses served here."""
_PROTOCOLS = ("HTTP", "HTTPS")


class Verdict(NamedTuple):
    """A condition's status with its reason and message."""

    status: bool
    reason: str
    message: str = ""


class Leg(NamedTuple):
    """A share of a rule's requests; no backend: they are answered with 500."""

    backend: Backend | None
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests at a port for a host that match, and what becomes of them."""

    name: str
    port: int
    host: str
    match: HTTPRouteMatch
    rule: HTTPRouteRule
    legs: tuple[Leg, ...]
    order: tuple[object, ...]


@dataclass(slots=True)
class ListenerPlan:
    listener: Listener
    conditions: dict[str, Verdict] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)
    attached: int = 0

    @property
    def serves(self) -> bool:
        return all(verdict.status for kind, verdict in self.conditions.items() if kind != "Conflicted")


@dataclass(slots=True)
class Parent:
    """What is said to a route of one of its parents."""

    reference: ParentReference
    conditions: dict[str, Verdict] = field(default_factory=dict)


@dataclass(slots=True)
class GatewayPlan:
    """`ports` tells of each whether TLS ends there; `rules` are in the order in which they are tried."""

    listeners: dict[str, list[ListenerPlan]] = field(default_factory=dict)
    parents: dict[str, list[Parent]] = field(default_factory=dict)
    ports: dict[int, bool] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)

    def certificates(self, port: int) -> list[Certificate]:
        return [
            certificate
            for listeners in self.listeners.values()
            for found in listeners
            if found.listener.port == port and found.serves
            for certificate in found.certificates
        ]


@dataclass(frozen=True, slots=True)
class World:
    """What a plan is made from. `taken` are ports that others have, with who; `labels` those of namespaces."""

    classes: Iterable[GatewayClass]
    gateways: Iterable[Gateway]
    routes: Iterable[HTTPRoute]
    grants: Sequence[ReferenceGrant]
    services: Mapping[str, Service]
    labels: Mapping[str, Mapping[str, str]]
    taken: Callable[[int, bool], str]
    """Why a port cannot be listened at (with TLS or without), or nothing."""


def gateway_plan(world: World) -> GatewayPlan:
    """The plan for these objects."""
    made = GatewayPlan()
    ours = {found.name for found in world.classes if found.spec.controller_name == CONTROLLER}
    gateways = {
        gateway.key: gateway
        for gateway in sorted(world.gateways, key=lambda found: (found.metadata.creation_timestamp or "", found.key))
        if gateway.spec.gateway_class_name in ours and gateway.metadata.deletion_timestamp is None
    }
    for gateway in gateways.values():
        _listen(made, gateway, world)
    for route in sorted(world.routes, key=lambda found: (found.metadata.creation_timestamp or "", found.key)):
        if route.metadata.deletion_timestamp is None:
            _attach(made, route, gateways, world)
    made.rules.sort(key=lambda rule: rule.order)
    return made


def _listen(made: GatewayPlan, gateway: Gateway, world: World) -> None:
    plans = made.listeners.setdefault(gateway.key, [])
    for listener in gateway.spec.listeners:
        plan = ListenerPlan(listener)
        plans.append(plan)
        plan.conditions = {
            "Accepted": _accepted(listener, world),
            "ResolvedRefs": _resolved(plan, gateway, world.grants),
            "Conflicted": _conflict(made, listener, plan),
        }
        if plan.conditions["Conflicted"].status:
            plan.conditions["Accepted"] = Verdict(False, plan.conditions["Conflicted"].reason)
        if plan.serves:
            made.ports[listener.port] = listener.protocol == "HTTPS"


def _accepted(listener: Listener, world: World) -> Verdict:
    if listener.protocol not in _PROTOCOLS:
        return Verdict(False, "UnsupportedProtocol", f"protocols served are {', '.join(_PROTOCOLS)}")
    if listener.tls is not None and listener.tls.mode != "Terminate" and listener.protocol == "HTTPS":
        return Verdict(False, "UnsupportedProtocol", "TLS ends here: set tls.mode: Terminate")
    if listener.hostname and not HOST.fullmatch(listener.hostname.lower()):
        return Verdict(False, "UnsupportedValue", f"{listener.hostname!r} is no host name")
    why = world.taken(listener.port, listener.protocol == "HTTPS")
    return Verdict(False, "PortUnavailable", why) if why else Verdict(True, "Accepted")


def _resolved(plan: ListenerPlan, gateway: Gateway, grants: Sequence[ReferenceGrant]) -> Verdict:
    listener = plan.listener
    kinds = [kind for kind in listener.allowed_routes.kinds if (kind.group, kind.kind) != (GROUP, "HTTPRoute")]
    if kinds:
        return Verdict(False, "InvalidRouteKinds", f"only HTTPRoute is served, not {', '.join(k.kind for k in kinds)}")
    if listener.protocol != "HTTPS":
        return Verdict(True, "ResolvedRefs")
    references = listener.tls.certificate_refs if listener.tls is not None else []
    if not references:
        return Verdict(False, "InvalidCertificateRef", "an HTTPS listener needs tls.certificateRefs")
    for reference in references:
        namespace = reference.namespace or gateway.namespace
        if (reference.group, reference.kind) != ("", "Secret"):
            return Verdict(False, "InvalidCertificateRef", f"{reference.kind} {reference.name} is no Secret")
        if not _granted(grants, "Gateway", gateway.namespace, _secret(reference), namespace):
            return Verdict(False, "RefNotPermitted", f"no ReferenceGrant in {namespace} allows secret {reference.name}")
        plan.certificates.append(
            Certificate(namespace, reference.name, (listener.hostname,) if listener.hostname else ())
        )
    return Verdict(True, "ResolvedRefs")


def _conflict(made: GatewayPlan, listener: Listener, own: ListenerPlan) -> Verdict:
    others = [plan.listener for plans in made.listeners.values() for plan in plans if plan is not own and plan.serves]
    at_port = [other for other in others if other.port == listener.port]
    if any(other.protocol != listener.protocol for other in at_port):
        return Verdict(True, "ProtocolConflict", f"another listener has port {listener.port} with another protocol")
    if any(other.hostname == listener.hostname for other in at_port):
        return Verdict(True, "HostnameConflict", f"another listener has port {listener.port} and this host name")
    return Verdict(False, "NoConflicts")


def _attach(made: GatewayPlan, route: HTTPRoute, gateways: Mapping[str, Gateway], world: World) -> None:
    for reference in route.spec.parent_refs:
        key = f"{reference.namespace or route.namespace}/{reference.name}"
        gateway = gateways.get(key)
        if (reference.group, reference.kind) != (GROUP, "Gateway") or gateway is None:
            continue
        parent = Parent(reference)
        made.parents.setdefault(route.key, []).append(parent)
        legs, resolved = _legs(route, world)
        parent.conditions["ResolvedRefs"] = resolved
        unknown = unsupported(route)
        if unknown:
            parent.conditions["Accepted"] = Verdict(False, "UnsupportedValue", unknown)
            continue
        found = [
            plan
            for plan in made.listeners[key]
            if reference.section_name in (None, plan.listener.name) and reference.port in (None, plan.listener.port)
        ]
        parent.conditions["Accepted"] = _attach_to(made, route, found, gateway, legs, world)


def _attach_to(
    made: GatewayPlan,
    route: HTTPRoute,
    listeners: Sequence[ListenerPlan],
    gateway: Gateway,
    legs: Sequence[tuple[Leg, ...]],
    world: World,
) -> Verdict:
    if not listeners:
        return Verdict(False, "NoMatchingParent", "the gateway has no such listener")
    allowed = [plan for plan in listeners if _allows(plan.listener, gateway, route, world.labels)]
    if not allowed:
        return Verdict(False, "NotAllowedByListeners", "no listener allows routes of this namespace")
    hosts = {id(plan): intersection(plan.listener.hostname, route.spec.hostnames) for plan in allowed}
    fitting = [plan for plan in allowed if hosts[id(plan)]]
    if not fitting:
        return Verdict(False, "NoMatchingListenerHostname", "no listener has a host name of the route")
    for plan in fitting:
        plan.attached += 1
        if plan.serves:
            for host in hosts[id(plan)]:
                _add_rules(made, route, plan.listener.port, host, legs)
    return Verdict(True, "Accepted")


def _add_rules(made: GatewayPlan, route: HTTPRoute, port: int, host: str, legs: Sequence[tuple[Leg, ...]]) -> None:
    for number, rule in enumerate(route.spec.rules):
        for position, match in enumerate(rule.matches or [HTTPRouteMatch()]):
            name = f"{route.namespace}_{route.name}_{number}_{position}"
            order = (*_precedence(host, match), route.metadata.creation_timestamp or "", route.key, number, position)
            made.rules.append(Rule(name, port, host, match, rule, legs[number], order))


def _precedence(host: str, match: HTTPRouteMatch) -> tuple[object, ...]:
    """The more exact first. Source: the precedence of HTTPRouteRule's matches."""
    exact = match.path.type == "Exact"
    return (
        host == "",
        host.startswith("*."),
        -len(host),
        not exact,
        -len(match.path.value),
        not match.method,
        -len(match.headers),
        -len(match.query_params),
    )


def intersection(listener: str, hostnames: Sequence[str]) -> list[str]:
    """The host names under which a route answers at a listener; "" for all, none: it does not."""
    listener = listener.lower()
    if not hostnames:
        return [listener]
    return list(dict.fromkeys(found for name in hostnames if (found := _both(listener, name.lower())) is not None))


def _both(listener: str, name: str) -> str | None:
    if not listener or listener == name:
        return name
    if listener.startswith("*.") and name.endswith(listener[1:]) and len(name) > len(listener[1:]):
        return name
    if name.startswith("*.") and listener.endswith(name[1:]) and len(listener) > len(name[1:]):
        return listener
    return None


def _allows(listener: Listener, gateway: Gateway, route: HTTPRoute, labels: Mapping[str, Mapping[str, str]]) -> bool:
    rule = listener.allowed_routes.namespaces
    if rule.from_ == "All":
        return True
    if rule.from_ == "Selector" and rule.selector is not None:
        return from_label_selector(rule.selector).matches(labels.get(route.namespace))
    return rule.from_ == "Same" and route.namespace == gateway.namespace


def _legs(route: HTTPRoute, world: World) -> tuple[list[tuple[Leg, ...]], Verdict]:
    """For each rule its backends, and whether all of them can be reached."""
    verdict = Verdict(True, "ResolvedRefs")
    found: list[tuple[Leg, ...]] = []
    for rule in route.spec.rules:
        legs = []
        for reference in rule.backend_refs:
            backend, problem = _backend(reference, route, world)
            if problem is not None and verdict.status:
                verdict = problem
            legs.append(Leg(backend, reference.weight))
        found.append(tuple(legs))
    return found, verdict


def _backend(reference: BackendReference, route: HTTPRoute, world: World) -> tuple[Backend | None, Verdict | None]:
    namespace = reference.namespace or route.namespace
    if (reference.group, reference.kind) != ("", "Service"):
        return None, Verdict(False, "InvalidKind", f"only services are served, not {reference.kind} {reference.name}")
    if not _granted(world.grants, "HTTPRoute", route.namespace, ("", "Service", reference.name), namespace):
        return None, Verdict(
            False, "RefNotPermitted", f"no ReferenceGrant in {namespace} allows service {reference.name}"
        )
    if reference.port is None:
        return None, Verdict(False, "BackendNotFound", f"service {reference.name}: a port has to be named")
    try:
        return service_backend(world.services, namespace, reference.name, reference.port), None
    except LookupError as error:
        return None, Verdict(False, "BackendNotFound", str(error.args[0]))


def _secret(reference: SecretReference) -> tuple[str, str, str]:
    return reference.group, reference.kind, reference.name


def _granted(
    grants: Sequence[ReferenceGrant], kind: str, namespace: str, target: tuple[str, str, str], at: str
) -> bool:
    """Whether an object of that kind and namespace may name the target (group, kind, name) in the namespace `at`."""
    if namespace == at:
        return True
    return any(
        grant.namespace == at
        and any((f.group, f.kind, f.namespace) == (GROUP, kind, namespace) for f in grant.spec.from_)
        and any((t.group, t.kind) == target[:2] and t.name in (None, target[2]) for t in grant.spec.to)
        for grant in grants
    )
