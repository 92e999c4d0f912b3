"""Host names, hosts files and resolver configurations."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.names import Resolver, hostname, hosts_file, parse_resolv_conf, resolver

HOST = Resolver(("192.0.2.53",), ("example.test",), ("timeout:1",))


def pod(name: str = "p", **spec: Any) -> Pod:
    result: Pod = from_tree(Pod, {"metadata": {"name": name, "namespace": "ns"}, "spec": spec})
    return result


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "p"),
        ({"hostname": "h"}, "h"),
        ({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True}, "h.s.ns.svc.cluster.local"),
        ({"subdomain": "s"}, "p"),
        ({"hostnameOverride": "o.example"}, "o.example"),
    ],
)
def test_hostnames(spec: dict[str, Any], name: str) -> None:
    assert hostname(pod(**spec), "cluster.local") == name


def test_long_names_are_cut() -> None:
    assert hostname(pod("a" * 62 + "-b"), "cluster.local") == "a" * 62


def test_hosts_files() -> None:
    text = hosts_file(
        pod(hostAliases=[{"ip": "10.0.0.9", "hostnames": ["a", "b"]}]), ["10.0.0.2", "fd00::2"], "cluster.local"
    )
    assert "10.0.0.2\tp\nfd00::2\tp\n" in text
    assert text.endswith("10.0.0.9\ta\tb\n")
    assert "127.0.1.1 host" in hosts_file(pod(hostNetwork=True), [], "cluster.local", "127.0.1.1 host\n")


def test_resolvers() -> None:
    cluster = ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.test")

    def made(**spec: Any) -> Resolver:
        return resolver(pod(**spec), HOST, "10.96.0.10", "cluster.local")

    assert made() == Resolver(("10.96.0.10",), cluster, ("ndots:5",))
    assert made(dnsPolicy="Default") == HOST
    assert made(hostNetwork=True) == HOST
    assert made(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet").servers == ("10.96.0.10",)
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "tcp"}],
    }
    assert made(dnsPolicy="None", dnsConfig=config) == Resolver(("1.1.1.1",), ("x",), ("ndots:1", "tcp"))
    assert made(dnsConfig=config).options == ("ndots:1", "tcp")


def test_resolv_conf() -> None:
    text = "# made by hand\nnameserver 192.0.2.53\nsearch example.test other.test .\noptions ndots:2 rotate\n"
    assert parse_resolv_conf(text) == Resolver(("192.0.2.53",), ("example.test", "other.test"), ("ndots:2", "rotate"))
