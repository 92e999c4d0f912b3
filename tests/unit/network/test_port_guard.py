"""Ports of the host: whoever came first keeps them."""

from __future__ import annotations

from pilothouse.linux.listeners import Listener, parse
from pilothouse.network import base
from pilothouse.network.facts import NodeFacts
from pilothouse.network.pods import HostPort, PodFacts
from pilothouse.network.ports import Port, PortGuard

ADDRESSES = ("192.0.2.1", "127.0.0.1")


def nobody(port: Port) -> bool:
    return False


def test_a_held_port_is_named_and_taken_over_when_it_becomes_free() -> None:
    held = [Listener("tcp", "", 80, "7"), Listener("tcp", "127.0.0.1", 443, "8"), Listener("udp", "192.0.2.1", 53, "9")]
    asked: list[str] = []

    def name(inode: str) -> str:
        asked.append(inode)
        return f"program {inode}"

    guard = PortGuard(lambda: list(held), name)
    assert guard.want("shop/web", {("tcp", 80), ("tcp", 443), ("udp", 53)})
    assert not guard.want("shop/web", {("tcp", 80), ("tcp", 443), ("udp", 53)})
    assert guard.check(ADDRESSES, [], nobody) == {("tcp", 80), ("udp", 53)}
    assert guard.annotation() == {"tcp/80": "program 7", "udp/53": "program 9"}
    assert guard.check(ADDRESSES, [], nobody) == set()
    assert asked == ["7", "9"]
    held.pop(0)
    assert guard.check(ADDRESSES, [], nobody) == {("tcp", 80)}
    # Granted now: who listens later does not get it back.
    held.append(Listener("tcp", "", 80, "10"))
    assert guard.check(ADDRESSES, [], nobody) == set()
    assert "tcp/80" not in guard.annotation()


def test_what_was_served_before_a_restart_stays_served() -> None:
    guard = PortGuard(lambda: [Listener("tcp", "", 80, "7")], str)
    guard.want("shop/web", {("tcp", 80)})
    assert guard.check(ADDRESSES, [], lambda port: True) == set()
    assert not guard.taken


def test_a_pods_host_port_holds_too() -> None:
    pod = PodFacts("shop/p", "shop", "10.0.0.1", {}, local=True, host_ports=(HostPort("", 80, "tcp", 8080),))
    guard = PortGuard(list, str)
    guard.want("shop/web", {("tcp", 80)})
    guard.check(ADDRESSES, [pod], nobody)
    assert guard.annotation() == {"tcp/80": "the host port of pod shop/p"}


def test_the_kernels_table_is_read() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n"
        "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n"
        "   2: 0100007F:8000 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 333 1\n"
    )
    assert list(parse(table, "tcp", "0A")) == [Listener("tcp", "127.0.0.1", 53, "111"), Listener("tcp", "", 80, "222")]


def test_rules_without_logging_tell_of_nothing() -> None:
    facts = NodeFacts("n1", ADDRESSES, "10.232.0.0/16", "10.97.0.0/16", "10.97.0.10")
    silent = base.commands("t", facts, logging=False)
    assert " log " not in silent
    assert silent.count("\n") == base.commands("t", facts).count("\n")
