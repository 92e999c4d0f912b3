"""The shop's application: stock and orders over HTTP, kept in Redis. Standard library only."""

import json
import os
import signal
import socket
import sys
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRODUCTS = [
    {"id": "chart", "name": "Harbour chart", "price": 24},
    {"id": "compass", "name": "Brass compass", "price": 89},
    {"id": "lantern", "name": "Deck lantern", "price": 45},
]


def redis(*command: str) -> object:
    """One command over a connection of its own; raises OSError when Redis cannot be reached."""
    address = (os.environ["REDIS_HOST"], int(os.environ.get("REDIS_PORT", "6379")))
    with socket.create_connection(address, timeout=2) as connection:
        file = connection.makefile("rwb")
        for words in (("AUTH", os.environ["REDIS_PASSWORD"]), command):
            file.write(f"*{len(words)}\r\n".encode())
            for word in words:
                data = word.encode()
                file.write(b"$%d\r\n%b\r\n" % (len(data), data))
            file.flush()
            answer = read_reply(file)
    return answer


def read_reply(file) -> object:
    line = file.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise OSError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else file.read(size + 2)[:-2].decode()
    if kind == b"*":
        return [read_reply(file) for _ in range(int(rest))]
    return rest.decode()


def page(shop: dict) -> str:
    rows = "\n".join(
        f"  <li>{escape(p['name'])}: {p['price']} euro, ordered {p['orders']} times</li>" for p in shop["products"]
    )
    return (
        f"<!doctype html>\n<title>{escape(shop['title'])}</title>\n<h1>{escape(shop['title'])}</h1>\n"
        f"<ul>\n{rows}\n</ul>\n"
        f"<p>Visit {shop['visits']}, served by {escape(shop['served_by'])}.</p>\n"
    )


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif self.path == "/readyz":
            self.guarded(lambda: {"redis": redis("PING")})
        elif self.path == "/":
            self.guarded(self.shop, page)
        elif self.path == "/api/shop":
            self.guarded(self.shop)
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        product = self.path.rpartition("/")[2]
        if not self.path.startswith("/api/orders/") or product not in [p["id"] for p in PRODUCTS]:
            self.answer(404, {"error": "no such product"})
            return
        self.guarded(lambda: {"ordered": product, "orders": redis("HINCRBY", "orders", product, "1")})

    def shop(self) -> dict:
        visits = redis("INCR", "visits")
        flat = redis("HGETALL", "orders")
        orders = dict(zip(flat[::2], map(int, flat[1::2]), strict=True))
        return {
            "title": os.environ.get("SHOP_TITLE", "Shop"),
            "visits": visits,
            "served_by": os.environ.get("POD_NAME", socket.gethostname()),
            "products": [{**product, "orders": orders.get(product["id"], 0)} for product in PRODUCTS],
        }

    def guarded(self, work, render=None) -> None:
        try:
            tree = work()
        except OSError as error:
            self.answer(503, {"error": f"redis: {error}"})
        else:
            self.answer(200, tree, render)

    def answer(self, status: int, tree: dict, render=None) -> None:
        body = render(tree).encode() if render else json.dumps(tree).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if render else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        if self.path not in ("/healthz", "/readyz"):
            print(f"{self.address_string()} {format % args}", file=sys.stdout, flush=True)


class Server(ThreadingHTTPServer):
    """Listens by IPv4, and by IPv6 where the kernel has it."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> None:
    server = Server(("", int(os.environ.get("PORT", "8080"))), Shop)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("the shop is open", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
