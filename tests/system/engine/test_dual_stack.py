"""A cluster of both IP families, as people set it up and use it: real containers, names, services, policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6"),
]

ADDRESS = "fd00:192::50"
PODS, SERVICES = "10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"
WORLD = """\
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {{app: web}}
  ports: [{{port: 81, targetPort: 8080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
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
metadata: {{name: client, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "trap 'exit 0' TERM; sleep 1d & wait"]
      env: [{{name: IPS, valueFrom: {{fieldRef: {{fieldPath: status.podIPs}}}}}}]
"""
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16}}]}]
"""
ASK = "busybox printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {} {} | busybox tail -n 1"


@pytest.fixture(scope="module")
def dual(machine: Machine, images: Images) -> Iterator[Machine]:
    machine.run("ip", "address", "add", f"{ADDRESS}/64", "dev", "lan0", "nodad")
    machine.up("--pod-cidr", PODS, "--service-cidr", SERVICES)
    machine.apply(WORLD.format(image=images.tools))
    machine.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    yield machine
    machine.kubectl("delete", "pod,service", "-l", "app", "--wait=false")


def ask(machine: Machine, host: str, port: int) -> str:
    return machine.kubectl("exec", "client", "--", "sh", "-c", ASK.format(host, port)).strip()


def addresses(machine: Machine, pod: str) -> list[str]:
    return [entry["ip"] for entry in machine.get("pod", pod)["status"]["podIPs"]]


def test_pods_names_and_services_of_both_families(dual: Machine) -> None:
    node = dual.get("node", dual.name)
    assert node["spec"]["podCIDRs"] == ["10.244.0.0/24", "fd00:10:244::/64"]
    internal = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert internal == [dual.address, ADDRESS]
    pod = dual.get("pod", "client")["status"]
    assert pod["hostIPs"] == [{"ip": dual.address}, {"ip": ADDRESS}]
    four, six = (entry["ip"] for entry in pod["podIPs"])
    assert ipaddress.ip_address(six) in ipaddress.ip_network("fd00:10:244::/64")
    assert dual.kubectl("exec", "client", "--", "sh", "-c", "echo $IPS").strip() == f"{four},{six}"

    service = dual.get("service", "web")
    assert service["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert dual.get("service", "kubernetes")["spec"]["ipFamilyPolicy"] == "SingleStack"
    slices = dual.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    found = {slice_["addressType"]: slice_["endpoints"][0]["addresses"] for slice_ in slices}
    web = addresses(dual, "web")
    assert found == {"IPv4": web[:1], "IPv6": web[1:]}
    for address in web:
        until(lambda address=address: ask(dual, address, 8080) == "hello", f"the pod answers at {address}")  # type: ignore[misc]
    for address in service["spec"]["clusterIPs"]:
        until(lambda address=address: ask(dual, address, 81) == "hello", f"the service answers at {address}")  # type: ignore[misc]

    def looked_up(name: str) -> str:
        return dual.kubectl("exec", "client", "--", "busybox", "nslookup", name, code=None)

    name = "web.default.svc.cluster.local"
    until(lambda: all(address in looked_up(name) for address in service["spec"]["clusterIPs"]), "A and AAAA")
    assert name in looked_up(service["spec"]["clusterIPs"][1]), "ip6.arpa leads back"
    balanced = [entry["ip"] for entry in dual.get("service", "web")["status"]["loadBalancer"]["ingress"]]
    assert balanced == [dual.address, ADDRESS]
    for host in (dual.address, f"[{ADDRESS}]"):
        until(lambda host=host: dual.fetch(f"http://{host}:81/index.html") == "hello\n", f"{host} answers")  # type: ignore[misc]


def test_a_policy_holds_in_both_families(dual: Machine) -> None:
    four, six = addresses(dual, "web")
    until(lambda: ask(dual, six, 8080) == "hello", "the pod answers")
    dual.apply(DENY)
    until(lambda: ask(dual, six, 8080) == "", "IPv6, which the policy does not name, is denied")
    assert ask(dual, four, 8080) == "hello"
    until(lambda: "8080/tcp" in dual.pilothouse("network", "denied"), "the denied flow is listed")
    dual.kubectl("delete", "networkpolicy", "web")
    until(lambda: ask(dual, six, 8080) == "hello", "the pod answers again")


def test_the_families_of_a_service_change_as_its_policy_says(dual: Machine) -> None:
    patch = '{"spec": {"ipFamilyPolicy": "%s"}}'
    dual.kubectl("patch", "service", "web", "-p", patch % "SingleStack")
    until(lambda: len(dual.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]) == 1, "one slice")
    assert len(dual.get("service", "web")["spec"]["clusterIPs"]) == 1
    dual.kubectl("patch", "service", "web", "-p", patch % "PreferDualStack")
    six = dual.get("service", "web")["spec"]["clusterIPs"][1]
    until(lambda: ask(dual, six, 81) == "hello", "the second address answers again")


def test_a_new_engine_takes_over_what_is_there(dual: Machine) -> None:
    six = dual.get("service", "web")["spec"]["clusterIPs"][1]
    before, starts = dual.run("ip", "-6", "route"), dual.starts()
    dual.pilothouse("stop")
    dual.up("--pod-cidr", PODS)
    assert dual.run("ip", "-6", "route") == before
    assert dual.starts() == starts
    until(lambda: ask(dual, six, 81) == "hello", "the service answers")
    other = dual.pilothouse("stop") + dual.up("--pod-cidr", "10.244.0.0/16", code=1)
    assert "that stays for the life of the data" in other
    dual.up()


@pytest.mark.slow
def test_two_machines_reach_each_other_by_ipv6(two_machines: tuple[Machine, Machine], images: Images) -> None:
    first, second = two_machines
    for made, address in ((first, ADDRESS), (second, "fd00:192::51")):
        made.run("ip", "address", "add", f"{address}/64", "dev", "pair0", "nodad")
    first.up("--pod-cidr", PODS, "--service-cidr", SERVICES)
    join = first.pilothouse("node", "token").split()
    second.pilothouse(*join[1:], "--background", "--node-name", second.name, "--node-address", second.address)
    for name, machine in (("web", first), ("client", second)):
        where = f'{{"spec": {{"nodeName": "{machine.name}"}}}}'
        documents = [text for text in WORLD.format(image=images.tools).split("---\n") if f"name: {name}," in text]
        tree = first.run("sh", "-c", "cat", stdin=documents[-1])
        patched = first.kubectl("patch", "--local", "-f", "-", "-p", where, "-o", "yaml", stdin=tree)
        first.apply(patched)
    first.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    four, six = addresses(first, "web")
    assert addresses(first, "client")[1].startswith("fd00:10:244:1:")
    for address in (four, six):
        until(lambda address=address: ask(first, address, 8080) == "hello", f"{address} answers")  # type: ignore[misc]
