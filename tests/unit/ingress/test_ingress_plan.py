"""Which request goes where, and how HAProxy is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pilothouse.ingress.haproxy import Pair, certificate_list, config
from pilothouse.ingress.routes import CONTROLLER, Backend, Plan, Route, claims, plan
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.networking.ingress_class import IngressClass
from pilothouse.kinds.view import from_tree

CLASSES = [
    from_tree(IngressClass, {"metadata": {"name": "pilothouse"}, "spec": {"controller": CONTROLLER}}),
    from_tree(IngressClass, {"metadata": {"name": "other"}, "spec": {"controller": "example.com/x"}}),
]
WEB = Backend("shop", "web", "10.96.0.20", 80)
API = Backend("shop", "api", "10.96.0.21", 8080)


def service(name: str, address: str, *ports: dict[str, Any], **status: Any) -> Service:
    tree = {"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterIP": address, "ports": list(ports)}}
    return from_tree(Service, {**tree, "status": status})


SERVICES = {
    found.key: found
    for found in (
        service("web", "10.96.0.20", {"port": 80, "name": "http"}),
        service("api", "10.96.0.21", {"port": 8080}),
        service("headless", "None", {"port": 80}),
        service("grpc", "10.96.0.22", {"port": 9000, "appProtocol": "kubernetes.io/h2c"}),
    )
}


def ingress(name: str, spec: str, made: str = "2026-01-01T00:00:00Z", **annotations: str) -> Ingress:
    meta = {"name": name, "namespace": "shop", "creationTimestamp": made, "annotations": annotations}
    return from_tree(Ingress, {"metadata": meta, "spec": {"ingressClassName": "pilothouse", **yaml.safe_load(spec)}})


def path(text: str, service_name: str, port: str = "number: 80", kind: str = "Prefix") -> str:
    return f"{{path: {text}, pathType: {kind}, backend: {{service: {{name: {service_name}, port: {{{port}}}}}}}}}"


def made(*found: Ingress) -> Plan:
    return plan(found, CLASSES, SERVICES)


def test_longer_paths_come_first_and_exact_before_prefix() -> None:
    paths = ", ".join(
        [
            path("/", "web"),
            path("/api/", "api", "number: 8080"),
            path("/api", "web", kind="Exact"),
            path("/a", "web", "name: http"),
        ]
    )
    result = made(ingress("i", f"rules: [{{host: Shop.example.org, http: {{paths: [{paths}]}}}}]"))
    assert result.sites["shop.example.org"].routes == [
        Route("/api", True, WEB),
        Route("/api", False, API),
        Route("/a", False, WEB),
        Route("/", False, WEB),
    ]
    assert result.served == ["shop/i"]
    assert not result.problems


def test_of_two_claims_the_older_wins_and_the_other_is_told() -> None:
    rules = "rules: [{{host: a.org, http: {{paths: [{}]}}}}]"
    young = ingress("young", rules.format(path("/", "api", "number: 8080")), "2026-02-01T00:00:00Z")
    old = ingress("old", rules.format(path("/", "web")))
    result = made(young, old)
    assert result.sites["a.org"].routes == [Route("/", False, WEB)]
    assert result.problems == {"shop/young": ["path / of host a.org already belongs to ingress shop/old"]}


def test_what_cannot_be_reached_is_named() -> None:
    paths = ", ".join(
        [
            path("/a", "gone"),
            path("/b", "web", "name: nothing"),
            path("/c", "headless"),
            path("/d", "web", "number: 81"),
        ]
    )
    result = made(ingress("i", f"rules: [{{http: {{paths: [{paths}]}}}}]\ntls: [{{hosts: [x.org]}}]"))
    assert all(route.backend is None for route in result.sites[""].routes)
    assert result.problems["shop/i"] == [
        'service "gone" not found',
        'service "web" has no port nothing',
        'service "headless" has no cluster address: give it one (type ClusterIP)',
        'service "web" has no port 81',
        "tls for x.org names no secret",
    ]


def test_classes_of_others_are_left_alone() -> None:
    other = ingress("i", f"ingressClassName: other\nrules: [{{http: {{paths: [{path('/', 'web')}]}}}}]")
    none = ingress("j", f"rules: [{{http: {{paths: [{path('/', 'web')}]}}}}]")
    none.spec.ingress_class_name = None
    assert made(other, none) == Plan()
    none.metadata.annotations["kubernetes.io/ingress.class"] = "pilothouse"
    assert made(none).served == ["shop/j"]


def test_ports_of_load_balancers_are_claims() -> None:
    balanced = service(
        "edge",
        "10.96.0.9",
        {"port": 443},
        {"port": 53, "protocol": "UDP"},
        loadBalancer={"ingress": [{"ip": "192.0.2.1"}]},
    )
    assert claims([balanced, SERVICES["shop/web"]], "192.0.2.1") == {443: "shop/edge"}
    assert claims([balanced], "192.0.2.2") == {}


def test_the_whole_configuration() -> None:
    spec = f"""
defaultBackend: {{service: {{name: api, port: {{number: 8080}}}}}}
tls: [{{hosts: [shop.example.org], secretName: shop-tls}}]
rules:
  - host: shop.example.org
    http: {{paths: [{path("/", "web")}, {path("/gone", "gone")}]}}
  - host: "*.example.org"
    http: {{paths: [{path("/rpc", "grpc", "number: 9000")}]}}
  - http: {{paths: [{path("/x", "web", kind="Exact")}]}}
"""
    result = made(ingress("i", spec, **{"ingress.pilothouse.io/ssl-redirect": "true"}))
    pairs = [Pair("/d/shop_shop-tls.pem", result.certificates[0].hosts)]
    text = config(result, "192.0.2.1", "/d", pairs)
    expected = Path(__file__).with_name("haproxy.cfg")
    assert text == expected.read_text()
    assert certificate_list(pairs) == "/d/shop_shop-tls.pem shop.example.org\n"
    assert "443" not in config(result, "192.0.2.1", "/d", [])


def test_addresses_of_ipv6_are_bracketed() -> None:
    rules = f"rules: [{{http: {{paths: [{path('/', 'web')}]}}}}]"
    services = {"shop/web": service("web", "fd00::20", {"port": 80, "name": "http"})}
    made = plan([ingress("one", rules)], CLASSES, services)
    text = config(made, "fd00::1", "/run/x", [])
    assert "  bind [fd00::1]:80\n" in text
    assert "  server service [fd00::20]:80\n" in text
