"""The records of Services."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from pilothouse.dns.zone import service_records, zones
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import from_tree


def service(**spec: Any) -> Service:
    made: Service = from_tree(Service, {"metadata": {"name": "db", "namespace": "shop"}, "spec": spec})
    return made


def slice_(*endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> EndpointSlice:
    made: EndpointSlice = from_tree(
        EndpointSlice, {"addressType": "IPv4", "endpoints": list(endpoints), "ports": ports or []}
    )
    return made


def test_cluster_address() -> None:
    records = service_records(
        service(clusterIP="10.97.0.20", ports=[{"name": "sql", "port": 5432}, {"port": 80}]), [], "c.local"
    )
    assert records == [
        ("db.shop.svc.c.local", "A", "10.97.0.20"),
        ("20.0.97.10.in-addr.arpa", "PTR", "db.shop.svc.c.local"),
        ("_sql._tcp.db.shop.svc.c.local", "SRV", "0 100 5432 db.shop.svc.c.local"),
    ]


def test_headless_names_its_ready_endpoints() -> None:
    found = slice_(
        {"addresses": ["10.232.0.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.232.0.6"]},
        {"addresses": ["10.232.0.7"], "conditions": {"ready": False}},
        ports=[{"name": "sql", "port": 5432}],
    )
    records = service_records(service(clusterIP="None"), [found], "c.local")
    assert records == [
        ("db.shop.svc.c.local", "NAME"),
        ("db.shop.svc.c.local", "A", "10.232.0.5"),
        ("db-0.db.shop.svc.c.local", "A", "10.232.0.5"),
        ("5.0.232.10.in-addr.arpa", "PTR", "db-0.db.shop.svc.c.local"),
        ("_sql._tcp.db.shop.svc.c.local", "SRV", "0 100 5432 db-0.db.shop.svc.c.local"),
        ("db.shop.svc.c.local", "A", "10.232.0.6"),
        ("10-232-0-6.db.shop.svc.c.local", "A", "10.232.0.6"),
        ("6.0.232.10.in-addr.arpa", "PTR", "10-232-0-6.db.shop.svc.c.local"),
        ("_sql._tcp.db.shop.svc.c.local", "SRV", "0 100 5432 10-232-0-6.db.shop.svc.c.local"),
    ]


def test_external_name_and_no_address() -> None:
    external = service(type="ExternalName", externalName="db.example.org.")
    assert service_records(external, [], "c.local") == [("db.shop.svc.c.local", "CNAME", "db.example.org")]
    assert service_records(service(), [], "c.local") == []


def test_zones_cover_the_ranges() -> None:
    assert zones("c.local", [IPv4Network("10.97.0.0/16")]) == ["c.local", "97.10.in-addr.arpa"]
    assert zones("c", [IPv4Network("10.96.0.0/15")]) == ["c", "96.10.in-addr.arpa", "97.10.in-addr.arpa"]


_REVERSE = "4.1.0.0" + 16 * ".0" + ".6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa"


def test_a_service_of_two_families() -> None:
    spec = {"clusterIP": "10.97.0.20", "clusterIPs": ["10.97.0.20", "fd00:10:96::14"]}
    assert service_records(service(**spec), [], "c.local") == [
        ("db.shop.svc.c.local", "A", "10.97.0.20"),
        ("20.0.97.10.in-addr.arpa", "PTR", "db.shop.svc.c.local"),
        ("db.shop.svc.c.local", "AAAA", "fd00:10:96::14"),
        (_REVERSE, "PTR", "db.shop.svc.c.local"),
    ]


def test_headless_names_its_endpoints_of_both_families() -> None:
    four = slice_({"addresses": ["10.232.0.5"]})
    six: EndpointSlice = from_tree(
        EndpointSlice, {"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::5"], "hostname": "db-0"}]}
    )
    records = service_records(service(clusterIP="None"), [four, six], "c.local")
    assert [record[:3] for record in records if record[1] in ("A", "AAAA")] == [
        ("db.shop.svc.c.local", "A", "10.232.0.5"),
        ("10-232-0-5.db.shop.svc.c.local", "A", "10.232.0.5"),
        ("db.shop.svc.c.local", "AAAA", "fd00::5"),
        ("db-0.db.shop.svc.c.local", "AAAA", "fd00::5"),
    ]


def test_zones_of_ipv6_end_at_a_digit() -> None:
    assert zones("c", [IPv6Network("fd00:10::/32")]) == ["c", "0.1.0.0.0.0.d.f.ip6.arpa"]
    assert zones("c", [IPv6Network("fd00:10::/31")]) == [
        "c",
        "0.1.0.0.0.0.d.f.ip6.arpa",
        "1.1.0.0.0.0.d.f.ip6.arpa",
    ]
