"""Flows, denials and advice of a real cluster, as people see them."""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

WORLD = """\
apiVersion: v1
kind: Namespace
metadata: {{name: net}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: net}}
spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: 81, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: net, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "echo hello > /tmp/index.html; trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /tmp & wait"]
      readinessProbe: {{httpGet: {{port: 8080, path: /index.html}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: net, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: {image}, args: ["-c", "trap 'exit 0' TERM; sleep 1d & wait"]}}]
"""
EXAMPLES = Path(__file__).parents[3] / "examples"
ASK = "busybox printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {} {} | busybox tail -n 1"


@pytest.fixture(scope="module")
def net(engine: Machine, images: Images) -> Iterator[Machine]:
    engine.apply(WORLD.format(image=images.tools))
    engine.kubectl("-n", "net", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    yield engine
    engine.kubectl("delete", "namespace", "net", "--wait=false")


def ask(machine: Machine, host: str, port: int) -> str:
    return machine.kubectl("exec", "-n", "net", "client", "--", "sh", "-c", ASK.format(host, port)).strip()


def resolve(machine: Machine) -> str:
    return machine.kubectl("exec", "-n", "net", "client", "--", "busybox", "nslookup", "web.net.svc.cluster.local")


def test_advice_keeps_what_was_seen_and_nothing_else(net: Machine) -> None:
    service = net.cluster_address("web", "net")
    until(lambda: service in resolve(net), "the service's name is answered")
    until(lambda: ask(net, service, 81) == "hello", "the client reaches the service")
    until(lambda: net.fetch(f"http://{net.address}:81/index.html") == "hello\n", "the load balancer answers")
    status = net.get("service", "web", "-n", "net")["status"]
    assert status["loadBalancer"]["ingress"] == [{"ip": net.address, "ipMode": "VIP"}]
    until(lambda: "net/web" in net.pilothouse("network", "flows", "-n", "net"), "the flow is listed")
    advice = net.pilothouse("network", "advise", "net")
    policies = [policy for policy in yaml.safe_load_all(advice) if policy]
    assert {policy["metadata"]["name"] for policy in policies} == {"web", "client"}
    assert "k8s-app: kube-dns" in advice
    assert "none of" in net.pilothouse("network", "advise", "net", "--replay", "-", stdin=advice)
    net.apply(advice)
    until(lambda: ask(net, service, 81) == "hello" and service in resolve(net), "what was recorded still works")
    address = net.get("pod", "web", "-n", "net")["status"]["podIP"]

    def denied() -> str:
        assert not ask(net, address, 9999)
        return net.pilothouse("network", "denied", "-n", "net")

    until(lambda: "9999/tcp" in denied(), "the denied flow is listed")
    tree = json.loads(net.pilothouse("network", "denied", "-n", "net", "-o", "json"))
    (item,) = [item for item in tree["items"] if item["port"] == 9999 and item["direction"] == "egress"]
    assert item["policies"] == ["net/client"]
    assert tree["policies"]["net/client"] >= 1


INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: net}}
spec:
  rules:
    - host: {host}
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 81}}}}}}}}]}}
{tls}
"""


def certificate(host: str) -> dict[str, str]:
    """A TLS Secret's data."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    parts = {"tls.crt": made.public_bytes(serialization.Encoding.PEM), "tls.key": key.private_bytes(*form)}
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def request(machine: Machine, host: str, secure: bool = False) -> tuple[int, str]:
    """Status and body of a GET at the node's address for that host."""

    def ask_it() -> tuple[int, str]:
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                machine.address, timeout=5, context=context
            )
        else:
            connection = http.client.HTTPConnection(machine.address, timeout=5)
        try:
            connection.request("GET", "/index.html", headers={"Host": host})
            reply = connection.getresponse()
            return reply.status, reply.read().decode().strip()
        finally:
            connection.close()

    return machine.inside(ask_it)


def test_an_ingress_is_served_and_changes_drop_nothing(net: Machine) -> None:
    assert net.pid("ingress") == 0
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    meta = {"name": "shop-tls", "namespace": "net"}
    net.apply(json.dumps({**secret, "metadata": meta, "data": certificate("shop.test")}))
    tls = "  tls: [{hosts: [shop.test], secretName: shop-tls}]"
    net.apply(INGRESS.format(name="shop", host="shop.test", tls=tls))
    until(lambda: request(net, "shop.test") == (200, "hello"), "the ingress answers")
    until(lambda: request(net, "shop.test", secure=True) == (200, "hello"), "it answers with TLS")
    assert request(net, "other.test")[0] == 404
    status = net.get("ingress", "shop", "-n", "net")
    assert status["spec"]["ingressClassName"] == "pilothouse"
    until(
        lambda: net.get("ingress", "shop", "-n", "net")["status"]["loadBalancer"] == {"ingress": [{"ip": net.address}]},
        "its status tells the address",
    )
    failed: list[object] = []
    done = threading.Event()
    count = 0

    def load() -> None:
        nonlocal count
        while not done.is_set():
            try:
                found = request(net, "shop.test")
                count += 1
                if found != (200, "hello"):
                    failed.append(found)
            except OSError as error:
                failed.append(repr(error))

    def keep() -> None:
        """One request after another on a connection that only the server's announcement ends."""
        connection = http.client.HTTPConnection(net.address, timeout=5)
        while not done.is_set():
            try:
                connection.request("GET", "/index.html", headers={"Host": "shop.test"})
                reply = connection.getresponse()
                found = (reply.status, reply.read().decode().strip())
                if found != (200, "hello"):
                    failed.append(found)
            except (OSError, http.client.HTTPException) as error:
                failed.append(f"kept: {error!r}")
                connection.close()
        connection.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    threads.append(threading.Thread(target=lambda: net.inside(keep)))
    for thread in threads:
        thread.start()
    master = net.pid("ingress")
    for turn in range(4):
        net.apply(INGRESS.format(name="more", host=f"more-{turn}.test", tls=""))
        until(lambda turn=turn: request(net, f"more-{turn}.test") == (200, "hello"), "the new host answers")  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert count > 20
    assert net.pid("ingress") == master
    # It outlives the engine's processes, and is taken over.
    net.kill("control")
    assert request(net, "shop.test") == (200, "hello")
    net.kubectl("-n", "net", "delete", "ingress", "more", "shop")
    until(lambda: net.pid("ingress") == 0, "it ends with the last ingress")


GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: pilothouse}
spec: {controllerName: pilothouse.io/gateway}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: net}
spec:
  gatewayClassName: pilothouse
  listeners:
    - {name: plain, port: 8088, protocol: HTTP}
    - {name: api, port: 6443, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: net}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  hostnames: [gate.test]
  rules:
    - backendRefs: [{name: web, port: 81}]
      filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-By, value: "gate 100%"}]}}]
    - matches: [{path: {type: PathPrefix, value: /down}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: web, port: 81}]
    - matches: [{path: {type: PathPrefix, value: /old}}]
      filters:
        - type: RequestRedirect
          requestRedirect: {scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
"""


def get(machine: Machine, port: int, host: str, path: str) -> http.client.HTTPResponse:
    def ask_it() -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(machine.address, port, timeout=5)
        connection.request("GET", path, headers={"Host": host})
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return reply

    return machine.inside(ask_it)


def test_a_gateway_routes_as_its_routes_say(net: Machine) -> None:
    net.apply((EXAMPLES / "gateway-api" / "definitions.yaml").read_text())
    until(lambda: net.apply(GATEWAY), "the kinds are served")
    until(lambda: get(net, 8088, "gate.test", "/index.html").status == 200, "the route answers")
    assert get(net, 8088, "gate.test", "/index.html").getheader("X-By") == "gate 100%"
    assert get(net, 8088, "gate.test", "/down/index.html").status == 200
    moved = get(net, 8088, "gate.test", "/old/a?b=c")
    assert (moved.status, moved.getheader("Location")) == (302, "https://gate.test/new/a?b=c")
    assert get(net, 8088, "other.test", "/index.html").status == 404
    told = net.kubectl("-n", "net", "wait", "gateway/edge", "--for=condition=Programmed", "--timeout=10s")
    assert "condition met" in told
    status = net.get("gateway", "edge", "-n", "net")["status"]
    assert status["addresses"] == [{"type": "IPAddress", "value": net.address}]
    reasons = {
        entry["name"]: next(c["reason"] for c in entry["conditions"] if c["type"] == "Accepted")
        for entry in status["listeners"]
    }
    assert reasons == {"plain": "Accepted", "api": "PortUnavailable"}
    (parent,) = net.get("httproute", "web", "-n", "net")["status"]["parents"]
    assert all(condition["status"] == "True" for condition in parent["conditions"])
    # What serves goes on with another process of the engine, and ends with the Gateway.
    net.kill("control")
    assert get(net, 8088, "gate.test", "/index.html").status == 200
    until(lambda: "deleted" in net.kubectl("-n", "net", "delete", "gateway", "edge"), "the gateway is deleted")
    until(lambda: net.pid("ingress") == 0, "the proxy ends with it")
