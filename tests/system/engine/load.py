"""Steady load from inside a machine: `load.py URL NAME DNS` asks the URL on a new connection each time, and a name
server for the name, until its standard input closes; then it prints what failed, as JSON."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
import urllib.request

from dnslib import DNSRecord

_PAUSE = 0.02
_PATIENCE = 5.0


class Load:
    """Counts of what was asked, and what failed."""

    def __init__(self) -> None:
        self.asked = {"http": 0, "dns": 0}
        self.slowest = {"http": 0.0, "dns": 0.0}
        self.failed: list[str] = []
        self.over = threading.Event()

    def repeat(self, kind: str, ask: object) -> None:
        """Asks until it is over; a failure is noted with its moment."""
        while not self.over.is_set():
            began = time.time()
            try:
                ask()  # type: ignore[operator]
            except Exception as error:
                self.failed.append(f"{kind} at {began:.3f} after {time.time() - began:.3f} s: {error!r}")
            self.asked[kind] += 1
            self.slowest[kind] = max(self.slowest[kind], time.time() - began)
            self.over.wait(_PAUSE)


def fetch(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_PATIENCE) as answer:
        answer.read()


def look_up(name: str, server: str) -> None:
    """One query with a stub resolver's habits: a second try when the first stays unanswered."""
    query = DNSRecord.question(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        for patience in (2.0, 3.0):
            sock.send(query.pack())
            if select.select([sock], [], [], patience)[0]:
                answer = DNSRecord.parse(sock.recv(4096))
                assert answer.rr, f"no address for {name}: {answer.header.rcode}"
                return
        raise TimeoutError(f"{server} does not answer")


def main() -> None:
    url, name, server = sys.argv[1:]
    load = Load()
    threads = [
        threading.Thread(target=load.repeat, args=("http", lambda: fetch(url))),
        threading.Thread(target=load.repeat, args=("dns", lambda: look_up(name, server))),
    ]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    load.over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"asked": load.asked, "slowest": load.slowest, "failed": load.failed}))


if __name__ == "__main__":
    main()
