"""Gateways and HTTPRoutes: which request goes where, what is said of each, and how HAProxy is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilothouse.ingress.gateway.plan import GatewayPlan, World, gateway_plan, intersection
from pilothouse.ingress.gateway.status import class_status, gateway_status, route_status
from pilothouse.ingress.gateway.views import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from pilothouse.ingress.haproxy import config
from pilothouse.ingress.routes import Plan
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import from_tree

HERE = Path(__file__).parent
VIEWS: dict[str, Any] = {
    "GatewayClass": GatewayClass,
    "Gateway": Gateway,
    "HTTPRoute": HTTPRoute,
    "ReferenceGrant": ReferenceGrant,
}


def service(namespace: str, name: str, address: str, port: int) -> Service:
    spec = {"clusterIP": address, "ports": [{"port": port}]}
    found: Service = from_tree(Service, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
    return found


SERVICES = {
    found.key: found
    for found in (
        service("shop", "web", "10.96.0.20", 80),
        service("shop", "api", "10.96.0.21", 8080),
        service("tools", "search", "10.96.0.30", 80),
        service("tools", "hidden", "10.96.0.31", 80),
    )
}


class Scene:
    """Objects read from YAML, and the plan for them."""

    def __init__(self, text: str, taken: dict[int, str] | None = None) -> None:
        self.held: dict[str, list[Any]] = {kind: [] for kind in VIEWS}
        for tree in yaml.safe_load_all(text):
            self.held[tree["kind"]].append(from_tree(VIEWS[tree["kind"]], tree))
        self.taken = taken or {}

    @property
    def plan(self) -> GatewayPlan:
        return gateway_plan(
            World(
                classes=self.held["GatewayClass"],
                gateways=self.held["Gateway"],
                routes=self.held["HTTPRoute"],
                grants=self.held["ReferenceGrant"],
                services=SERVICES,
                labels={"shop": {"expose": "yes"}},
                taken=lambda port, tls: self.taken.get(port, ""),
            )
        )

    def route(self) -> HTTPRoute:
        found: HTTPRoute = self.held["HTTPRoute"][0]
        return found


BASE = """\
kind: GatewayClass
metadata: {name: pilothouse}
spec: {controllerName: pilothouse.io/gateway}
---
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: pilothouse, listeners: [LISTENERS]}
---
kind: HTTPRoute
metadata: {name: r, namespace: NAMESPACE}
spec: {parentRefs: [{name: edge, namespace: shop}], ROUTE}
"""
TLS = "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}"
PLAIN = "{name: plain, port: 80, protocol: HTTP}"
WEB = "rules: [{backendRefs: [{name: web, namespace: shop, port: 80}]}]"


def scene(
    route: str = WEB, listeners: str = PLAIN, namespace: str = "shop", taken: dict[int, str] | None = None
) -> Scene:
    text = BASE.replace("LISTENERS", listeners).replace("NAMESPACE", namespace).replace("ROUTE", route)
    return Scene(text, taken)


def test_the_whole_configuration() -> None:
    made = Scene((HERE / "gateway.yaml").read_text()).plan
    text = config(Plan(), "192.0.2.1", "/d", [], made)
    expected = HERE / "gateway.cfg"
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()
    assert made.ports == {8080: False, 443: True}
    assert [certificate.secret for certificate in made.certificates(443)] == ["wild"]


@pytest.mark.skipif(shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="needs haproxy")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    text = (HERE / "gateway.cfg").read_text().replace(" ssl crt-list /d/certificates alpn h2,http/1.1", "")
    written = tmp_path / "haproxy.cfg"
    written.write_text(text.replace("/d/", f"{tmp_path}/"))
    done = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", str(written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("listener", "names", "expected"),
    [
        ("", [], [""]),
        ("", ["A.org"], ["a.org"]),
        ("a.org", [], ["a.org"]),
        ("a.org", ["a.org", "b.org"], ["a.org"]),
        ("*.a.org", ["x.a.org", "a.org", "y.b.org", "x.y.a.org"], ["x.a.org", "x.y.a.org"]),
        ("x.a.org", ["*.a.org"], ["x.a.org"]),
        ("*.a.org", ["*.a.org"], ["*.a.org"]),
        ("*.x.a.org", ["*.a.org"], ["*.x.a.org"]),
        ("a.org", ["*.a.org"], []),
    ],
)
def test_host_names_meet(listener: str, names: list[str], expected: list[str]) -> None:
    assert intersection(listener, names) == expected


@pytest.mark.parametrize(
    ("made", "accepted", "resolved"),
    [
        (scene(), "Accepted", "ResolvedRefs"),
        (scene(namespace="other"), "NotAllowedByListeners", "RefNotPermitted"),
        (
            scene(WEB + ", hostnames: [b.org]", PLAIN.replace("}", ", hostname: a.org}")),
            "NoMatchingListenerHostname",
            "ResolvedRefs",
        ),
        (scene(WEB.replace("web", "gone")), "Accepted", "BackendNotFound"),
        (scene(WEB.replace("port: 80", "port: 81")), "Accepted", "BackendNotFound"),
        (scene(WEB.replace("web, namespace: shop", "hidden, namespace: tools")), "Accepted", "RefNotPermitted"),
        (scene(WEB.replace("{name: web", "{kind: Bucket, name: web")), "Accepted", "InvalidKind"),
        (scene("rules: [{filters: [{type: RequestMirror}]}]"), "UnsupportedValue", "ResolvedRefs"),
        (scene("hostnames: ['a b']"), "UnsupportedValue", "ResolvedRefs"),
        (scene('rules: [{matches: [{path: {value: "/\'"}}]}]'), "UnsupportedValue", "ResolvedRefs"),
        (scene("rules: [{matches: [{headers: [{name: 'a) b', value: x}]}]}]"), "UnsupportedValue", "ResolvedRefs"),
        (scene("rules: [{matches: [{method: 'GET }'}]}]"), "UnsupportedValue", "ResolvedRefs"),
        (scene("rules: [{timeouts: {request: soon}}]"), "UnsupportedValue", "ResolvedRefs"),
    ],
)
def test_what_is_said_to_a_route(made: Scene, accepted: str, resolved: str) -> None:
    (parent,) = made.plan.parents[made.route().key]
    assert (parent.conditions["Accepted"].reason, parent.conditions["ResolvedRefs"].reason) == (accepted, resolved)


@pytest.mark.parametrize(
    ("listener", "kind", "reason"),
    [
        ("{name: l, port: 53, protocol: UDP}", "Accepted", "UnsupportedProtocol"),
        (TLS.replace("certificateRefs: [{name: s}]", "mode: Passthrough"), "Accepted", "UnsupportedProtocol"),
        ("{name: l, port: 6443, protocol: HTTP}", "Accepted", "PortUnavailable"),
        (TLS.replace(", tls: {certificateRefs: [{name: s}]}", ""), "ResolvedRefs", "InvalidCertificateRef"),
        (TLS.replace("name: s", "name: s, namespace: tools"), "ResolvedRefs", "RefNotPermitted"),
        (
            PLAIN.replace("80", "81").replace("}", ", allowedRoutes: {kinds: [{kind: TCPRoute}]}}"),
            "ResolvedRefs",
            "InvalidRouteKinds",
        ),
        ("{name: l, port: 80, protocol: HTTP}", "Conflicted", "HostnameConflict"),
        (TLS.replace("443", "80"), "Conflicted", "ProtocolConflict"),
    ],
)
def test_what_is_said_of_a_listener(listener: str, kind: str, reason: str) -> None:
    made = scene(listeners=f"{PLAIN}, {listener}", taken={6443: "the API"}).plan
    plain, other = made.listeners["shop/edge"]
    assert plain.serves
    assert not other.serves
    assert other.conditions[kind].reason == reason
    assert made.ports == {80: False}


def test_of_equal_matches_the_older_route_has_the_request() -> None:
    younger = BASE.split("---\n")[2].replace("ROUTE", WEB.replace("web", "api").replace("80", "8080"))
    younger = younger.replace("NAMESPACE", "shop").replace(
        "name: r,", "name: a, creationTimestamp: '2026-01-01T00:00:00Z',"
    )
    made = Scene(
        BASE.replace("LISTENERS", PLAIN).replace("NAMESPACE", "shop").replace("ROUTE", WEB) + "---\n" + younger
    )
    assert [rule.name for rule in made.plan.rules] == ["shop_r_0_0", "shop_a_0_0"]


def test_status_is_written_once() -> None:
    made = scene()
    plan = made.plan
    gateway, route, found = made.held["Gateway"][0], made.route(), made.held["GatewayClass"][0]
    status = gateway_status(gateway, plan.listeners["shop/edge"], "192.0.2.1", "")
    assert status is not None
    assert status["addresses"] == [{"type": "IPAddress", "value": "192.0.2.1"}]
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Accepted", "True"), ("Programmed", "True")]
    assert [(entry["name"], entry["attachedRoutes"]) for entry in status["listeners"]] == [("plain", 1)]
    written = from_tree(Gateway, {"metadata": {"name": "edge", "namespace": "shop"}, "status": status})
    assert gateway_status(written, plan.listeners["shop/edge"], "192.0.2.1", "") is None
    failed = gateway_status(written, plan.listeners["shop/edge"], "192.0.2.1", "haproxy is not installed")
    assert failed is not None
    assert [c["message"] for c in failed["conditions"] if c["type"] == "Programmed"] == ["haproxy is not installed"]
    told = route_status(route, plan.parents["shop/r"])
    assert told is not None
    foreign = {"parentRef": {"name": "x"}, "controllerName": "example.com/other"}
    again = from_tree(
        HTTPRoute, {"metadata": {"name": "r", "namespace": "shop"}, "status": {"parents": [*told["parents"], foreign]}}
    )
    assert route_status(again, plan.parents["shop/r"]) is None
    left = route_status(again, [])
    assert left is not None
    assert [parent["controllerName"] for parent in left["parents"]] == ["example.com/other"]
    accepted = class_status(found)
    assert accepted is not None
    assert class_status(from_tree(GatewayClass, {"status": accepted})) is None
