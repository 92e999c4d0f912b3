"""The dns process: `python -m pilothouse.launch.dns`. Imports little on purpose; it is to stay under 20 MB."""

from __future__ import annotations

import argparse
import signal
import socket
from ipaddress import ip_address
from pathlib import Path

from pilothouse.dns.intake import Intake, ZoneFile, note
from pilothouse.dns.loop import Loop
from pilothouse.dns.metrics import PORT, Metrics, MetricsServer
from pilothouse.dns.records import Records
from pilothouse.dns.serve import Answerer, TcpServer, UdpServer
from pilothouse.dns.upstream import Resolvers, Upstream
from pilothouse.kinds.families import split_host_port
from pilothouse.linux.sockets import allow_foreign, socket_family


def main() -> None:
    """Serves until SIGTERM."""
    options = _options()
    loop = Loop()
    own = {(options.address, options.port)}
    records = Records(options.domain)
    metrics = Metrics()
    upstream = Upstream(loop, Resolvers([_endpoint(text) for text in options.upstream], own), metrics)
    answerer = Answerer(records, upstream, metrics)
    zone_file = ZoneFile(loop, records, options.data_dir / "dns" / "zone.json")
    zone_file.load()
    UdpServer(loop, _socket(options.udp_fd, socket.SOCK_DGRAM, options.address, options.port), answerer)
    TcpServer(loop, _socket(options.tcp_fd, socket.SOCK_STREAM, options.address, options.port), answerer)
    try:
        sock = _socket(None, socket.SOCK_STREAM, options.address, options.metrics_port)
        MetricsServer(loop, sock, lambda: metrics.text(len(upstream.cache), len(records.owners)))
    except OSError as error:
        note(f"no metrics at {options.address}:{options.metrics_port}: {error}")
    Intake(loop, records, options.data_dir / "run" / "dns.sock", zone_file)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    signal.signal(signal.SIGINT, lambda *_: loop.stop())
    # A signal must end the wait of the loop: without this Python resumes the interrupted system call.
    waker, wakened = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    loop.watch(wakened, 1, lambda _: None)
    loop.run()
    if records.loaded:
        zone_file.save()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pilothouse-dns", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="the engine's data directory")
    parser.add_argument("--address", required=True, help="the cluster DNS address, to listen on")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--metrics-port", type=int, default=PORT)
    parser.add_argument("--domain", default="cluster.local")
    parser.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="IP[:PORT]",
        help="a resolver for other names, in place of those in /etc/resolv.conf; may be repeated",
    )
    parser.add_argument("--udp-fd", type=int, help="a bound UDP socket to use")
    parser.add_argument("--tcp-fd", type=int, help="a listening TCP socket to use")
    return parser.parse_args()


def _endpoint(text: str) -> tuple[str, int]:
    host, port = split_host_port(text)
    return str(ip_address(host)), int(port or 53)


def _socket(inherited: int | None, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    if inherited is not None:
        return socket.socket(fileno=inherited)
    sock = socket.socket(socket_family(address), kind | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # The address may come to the host only later, when its network is set up.
    allow_foreign(sock)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
    return sock


if __name__ == "__main__":
    main()
