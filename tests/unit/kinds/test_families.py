"""Addresses with ports, in either family's notation."""

from __future__ import annotations

import pytest

from pilothouse.kinds.families import join_host_port, split_host_port


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1:6443", "192.0.2.1", "6443"),
        ("name.example", "name.example", ""),
        ("[fd00::1]:6443", "fd00::1", "6443"),
        ("[fd00::1]", "fd00::1", ""),
        ("fd00::1", "fd00::1", ""),
    ],
)
def test_hosts_and_ports(text: str, host: str, port: str) -> None:
    assert split_host_port(text) == (host, port)
    if port:
        assert join_host_port(host, int(port)) == text
