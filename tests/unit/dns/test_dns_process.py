"""The dns process as a whole: a child process on loopback, asked with dnslib, fed and forwarding."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import dnslib
import pytest

from pilothouse.dns.upstream import parse_resolv_conf
from pilothouse.linux.host import has_ipv6
from pilothouse.linux.sockets import socket_family

ZONES = ["cluster.local", "97.10.in-addr.arpa"]
WEB = [
    ["web.shop.svc.cluster.local", "A", "10.97.0.20"],
    ["_http._tcp.web.shop.svc.cluster.local", "SRV", "0 100 80 web.shop.svc.cluster.local"],
    ["20.0.97.10.in-addr.arpa", "PTR", "web.shop.svc.cluster.local"],
]


class OtherResolver:
    """A resolver that knows example.org, and counts what it is asked."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket_family(address)
        self.asked: list[str] = []
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((address, 0))
        self.port = self._udp.getsockname()[1]
        self._tcp = socket.create_server((address, self.port), family=family)
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(4096)
            self._udp.sendto(self._answer(data, tcp=False), client)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            size = struct.unpack("!H", connection.recv(2))[0]
            answer = self._answer(connection.recv(size), tcp=True)
            connection.sendall(struct.pack("!H", len(answer)) + answer)
            connection.close()

    def _answer(self, data: bytes, *, tcp: bool) -> bytes:
        query = dnslib.DNSRecord.parse(data)
        name = str(query.q.qname)
        self.asked.append(name)
        reply = query.reply()
        if name == "big.example.org.":
            if tcp:
                for number in range(100):
                    reply.add_answer(*dnslib.RR.fromZone(f"{name} 60 A 192.0.2.{number}"))
            else:
                reply.header.tc = 1
        elif name.endswith("example.org."):
            reply.add_answer(*dnslib.RR.fromZone(f"{name} 60 A 192.0.2.7"))
        else:
            reply.header.rcode = 3
            reply.add_auth(*dnslib.RR.fromZone("org. 60 SOA a.org. b.org. 1 2 3 4 20"))
        packed: bytes = reply.pack()
        return packed


class Dns:
    """The process under test."""

    def __init__(self, data_dir: Path, *upstream: str, log: IO[str] | None = None) -> None:
        self.data_dir = data_dir
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        self.port = udp.getsockname()[1]
        tcp = socket.create_server(("127.0.0.1", self.port))
        self.metrics_port = _free_port()
        command = [sys.executable, "-m", "pilothouse.launch.dns", "--data-dir", str(data_dir), "--address", "127.0.0.1"]
        command += ["--udp-fd", str(udp.fileno()), "--tcp-fd", str(tcp.fileno())]
        command += ["--metrics-port", str(self.metrics_port)]
        for address in upstream:
            command += ["--upstream", address]
        self.process = subprocess.Popen(command, pass_fds=(udp.fileno(), tcp.fileno()), stderr=log)
        udp.close()
        tcp.close()

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = 4) -> dnslib.DNSRecord:
        query = dnslib.DNSRecord.question(name, kind)
        return dnslib.DNSRecord.parse(query.send("127.0.0.1", self.port, tcp=tcp, timeout=timeout))

    def feed(self, *messages: object) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        # Its file is there a moment before it listens.
        until(lambda: line.connect_ex(str(self.data_dir / "run" / "dns.sock")) == 0)
        for message in messages:
            line.sendall(json.dumps(message).encode() + b"\n")
        return line

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(5) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def other() -> OtherResolver:
    return OtherResolver()


@pytest.fixture
def dns(tmp_path: Path, other: OtherResolver) -> Iterator[Dns]:
    made = Dns(tmp_path, f"127.0.0.1:{other.port}")
    yield made
    made.stop()


@pytest.fixture
def fed(dns: Dns) -> Iterator[Dns]:
    line = dns.feed({"zones": ZONES, "snapshot": {"shop/web": WEB}})
    until(lambda: dns.ask("web.shop.svc.cluster.local").header.rcode == 0)
    yield dns
    line.close()


def test_servfail_until_the_first_records(dns: Dns) -> None:
    assert dns.ask("web.shop.svc.cluster.local").header.rcode == dnslib.RCODE.SERVFAIL


def test_services_are_answered(fed: Dns) -> None:
    for tcp in (False, True):
        reply = fed.ask("Web.Shop.svc.CLUSTER.local", tcp=tcp)
        assert [str(rr.rdata) for rr in reply.rr] == ["10.97.0.20"]
        assert reply.header.aa
        assert str(reply.q.qname) == "Web.Shop.svc.CLUSTER.local."
    srv = fed.ask("_http._tcp.web.shop.svc.cluster.local", "SRV")
    assert str(srv.rr[0].rdata) == "0 100 80 web.shop.svc.cluster.local."
    assert str(srv.ar[0].rdata) == "10.97.0.20"
    assert str(fed.ask("20.0.97.10.in-addr.arpa", "PTR").rr[0].rdata) == "web.shop.svc.cluster.local."
    assert str(fed.ask("10-232-0-5.shop.pod.cluster.local").rr[0].rdata) == "10.232.0.5"


def test_negative_answers(fed: Dns) -> None:
    empty = fed.ask("web.shop.svc.cluster.local", "AAAA")
    assert (empty.header.rcode, empty.rr, len(empty.auth)) == (0, [], 1)
    between = fed.ask("shop.svc.cluster.local")
    assert (between.header.rcode, between.rr) == (0, [])
    unknown = fed.ask("example.org.shop.svc.cluster.local")
    assert (unknown.header.rcode, len(unknown.auth)) == (dnslib.RCODE.NXDOMAIN, 1)
    assert fed.ask("9.9.97.10.in-addr.arpa", "PTR").header.rcode == dnslib.RCODE.NXDOMAIN


def test_changes_and_new_snapshots(fed: Dns) -> None:
    other = [["db.shop.svc.cluster.local", "A", "10.97.0.21"]]
    line = fed.feed({"put": {"shop/db": other, "shop/web": None}})
    until(lambda: fed.ask("db.shop.svc.cluster.local").header.rcode == 0)
    assert fed.ask("web.shop.svc.cluster.local").header.rcode == dnslib.RCODE.NXDOMAIN
    line.sendall(json.dumps({"zones": ZONES, "snapshot": {"shop/web": WEB}}).encode() + b"\n")
    until(lambda: fed.ask("db.shop.svc.cluster.local").header.rcode == dnslib.RCODE.NXDOMAIN)
    assert fed.ask("web.shop.svc.cluster.local").header.rcode == 0
    line.close()


def test_a_bad_record_harms_only_its_owner(fed: Dns) -> None:
    fed.feed(
        {"put": {"a/bad": [["x.cluster.local", "A", "nonsense"]], "a/good": [["y.cluster.local", "A", "1.2.3.4"]]}}
    )
    until(lambda: fed.ask("y.cluster.local").header.rcode == 0)
    assert fed.ask("x.cluster.local").header.rcode == dnslib.RCODE.NXDOMAIN


def test_the_last_records_outlive_the_process(tmp_path: Path) -> None:
    first = Dns(tmp_path)
    first.feed({"zones": ZONES, "snapshot": {"shop/web": WEB}})
    until(lambda: (tmp_path / "dns" / "zone.json").exists())
    first.process.kill()
    first.process.wait()
    second = Dns(tmp_path)
    assert str(second.ask("web.shop.svc.cluster.local").rr[0].rdata) == "10.97.0.20"
    second.stop()


def test_an_unreadable_file_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "dns").mkdir()
    (tmp_path / "dns" / "zone.json").write_text("{")
    dns = Dns(tmp_path)
    assert dns.ask("web.shop.svc.cluster.local").header.rcode == dnslib.RCODE.SERVFAIL
    dns.stop()


def test_a_full_disk_under_its_log_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "dns" / "zone.json").mkdir(parents=True)  # can neither be read nor written
    with open("/dev/full", "w") as full:
        dns = Dns(tmp_path, log=full)
    dns.feed({"zones": ZONES, "snapshot": {"shop/web": WEB}})
    until(lambda: dns.ask("web.shop.svc.cluster.local").header.rcode == 0)
    dns.stop()


def test_other_names_are_asked_elsewhere_once(dns: Dns, other: OtherResolver) -> None:
    for name in ("www.example.org", "WWW.example.org", "www.example.org"):
        assert str(dns.ask(name).rr[0].rdata) == "192.0.2.7"
    assert other.asked.count("www.example.org.") == 1
    for _ in range(2):
        assert dns.ask("nowhere.invalid").header.rcode == dnslib.RCODE.NXDOMAIN
    assert other.asked.count("nowhere.invalid.") == 1


def test_large_answers_go_by_tcp(dns: Dns) -> None:
    assert dns.ask("big.example.org").header.tc
    assert len(dns.ask("big.example.org", tcp=True).rr) == 100
    cut = dns.ask("big.example.org")
    assert cut.header.tc
    assert cut.rr == []


def test_an_alias_out_of_the_cluster_is_followed(fed: Dns) -> None:
    fed.feed({"put": {"shop/ext": [["ext.shop.svc.cluster.local", "CNAME", "www.example.org"]]}})
    until(lambda: fed.ask("ext.shop.svc.cluster.local").header.rcode == 0)
    reply = fed.ask("ext.shop.svc.cluster.local")
    assert [str(rr.rdata) for rr in reply.rr] == ["www.example.org.", "192.0.2.7"]


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_resolvers_of_ipv6(tmp_path: Path) -> None:
    other = OtherResolver("::1")
    dns = Dns(tmp_path, f"[::1]:{other.port}")
    line = dns.feed({"zones": ZONES, "snapshot": {}})
    for tcp in (False, True):
        assert str(dns.ask("www.example.org", tcp=tcp).short()) == "192.0.2.7"
    line.close()
    dns.stop()


def test_the_name_servers_of_a_resolv_conf() -> None:
    text = "search x\nnameserver 192.0.2.1\nnameserver fd00::1\nnameserver 192.0.2.1\nnameserver fd00::a\n"
    assert parse_resolv_conf(text, {("fd00::a", 53)}) == [("192.0.2.1", 53), ("fd00::1", 53)]


def test_resolvers_that_are_silent_end_in_servfail(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    dns = Dns(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}")
    started = time.monotonic()
    assert dns.ask("www.example.org").header.rcode == dnslib.RCODE.SERVFAIL
    assert time.monotonic() - started < 3
    dns.stop()
    silent.close()


@pytest.mark.parametrize("junk", [b"", b"\0" * 5, b"\xff" * 40, b"\0\1\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"])
def test_junk_does_no_harm(fed: Dns, junk: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(junk, ("127.0.0.1", fed.port))
    assert fed.ask("web.shop.svc.cluster.local").header.rcode == 0


def test_metrics_count_questions_and_answers(fed: Dns) -> None:
    fed.ask("nothing.cluster.local")
    fed.ask("www.example.org", "AAAA", tcp=True)
    fed.ask("www.example.org", "AAAA", tcp=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{fed.metrics_port}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    assert 'pilothouse_dns_requests_total{proto="tcp",type="AAAA"} 2' in text
    assert 'pilothouse_dns_responses_total{rcode="NXDOMAIN"} 1' in text
    assert "pilothouse_dns_cache_hits_total 1\n" in text
    assert "pilothouse_dns_forward_requests_total 1\n" in text
    assert "pilothouse_dns_services 1\n" in text
    count = next(line for line in text.splitlines() if line.startswith("pilothouse_dns_request_duration_seconds_count"))
    assert int(count.split()[1]) >= 4


def test_the_process_is_small(fed: Dns) -> None:
    text = Path(f"/proc/{fed.process.pid}/smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:"))
    assert kilobytes < 30_000
