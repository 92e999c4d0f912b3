"""A cluster of IPv6 alone, on machines that have no other: what people do with it, and two machines of it."""

from __future__ import annotations

import http.client
import ipaddress
import json
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6"),
]

ADDRESS, OTHER = "fd00:192::50", "fd00:192::51"
PODS, SERVICES = "fd00:10:244::/56", "fd00:10:96::/112"
WORLD = """\
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: LoadBalancer
  selector: {{app: web}}
  ports: [{{port: 81, targetPort: 8080, nodePort: 30081}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  rules:
    - host: web.test
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 81}}}}}}}}]}}
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
      ports: [{{containerPort: 8080, hostPort: 8081}}]
      readinessProbe: {{httpGet: {{port: 8080, path: /index.html}}, periodSeconds: 1}}
      livenessProbe: {{tcpSocket: {{port: 8080}}}}
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
"""
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]
"""
ASK = "busybox printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {} {} | busybox tail -n 1"
UP = ("--pod-cidr", PODS, "--service-cidr", SERVICES)


@pytest.fixture(scope="module")
def six(machine: Machine, images: Images) -> Machine:
    machine.run("ip", "address", "flush", "dev", "lan0")
    machine.address = ADDRESS
    machine.take_address("lan0")
    machine.up(*UP)
    machine.kubectl("label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=privileged")
    machine.apply(WORLD.format(image=images.tools))
    machine.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    return machine


def ask(machine: Machine, host: str, port: int) -> str:
    return machine.kubectl("exec", "client", "--", "sh", "-c", ASK.format(host, port)).strip()


def address(machine: Machine, pod: str) -> str:
    return str(machine.get("pod", pod)["status"]["podIP"])


def test_everything_has_an_address_of_ipv6_alone(six: Machine) -> None:
    node = six.get("node", six.name)
    assert node["spec"]["podCIDRs"] == ["fd00:10:244::/64"]
    assert [e["address"] for e in node["status"]["addresses"] if e["type"] == "InternalIP"] == [ADDRESS]
    pod = six.get("pod", "web")["status"]
    assert pod["podIPs"] == [{"ip": pod["podIP"]}]
    assert ipaddress.ip_address(pod["podIP"]) in ipaddress.ip_network("fd00:10:244::/64")
    assert pod["hostIP"] == ADDRESS
    service = six.get("service", "web")["spec"]
    assert (service["ipFamilies"], service["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")
    assert six.get("service", "kubernetes")["spec"]["clusterIP"] == "fd00:10:96::1"
    (slice_,) = six.get("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")["items"]
    assert (slice_["addressType"], slice_["endpoints"][0]["addresses"]) == ("IPv6", [ADDRESS])
    refused = six.kubectl("create", "-f", "-", stdin=dual_stack_service(), code=1)
    assert "this cluster is not configured for dual-stack services" in refused


def dual_stack_service() -> str:
    spec = {"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "two"}, "spec": spec})


def test_pods_services_and_names(six: Machine) -> None:
    service = six.get("service", "web")["spec"]["clusterIP"]
    for host, port in ((address(six, "web"), 8080), (service, 81), (ADDRESS, 30081), (ADDRESS, 8081)):
        until(lambda host=host, port=port: ask(six, host, port) == "hello", f"{host} port {port} answers")  # type: ignore[misc]

    def looked_up(name: str) -> str:
        return six.kubectl("exec", "client", "--", "busybox", "nslookup", name, code=None)

    name = "web.default.svc.cluster.local"
    until(lambda: service in looked_up(name), "the name leads to the service")
    assert name in looked_up(service), "ip6.arpa leads back"
    assert ask(six, name, 81) == "hello"
    # The API, as clients in the cluster reach it: by its Service, with a certificate that names its address.
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    reach = "busybox nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null"
    script = f"{reach} && busybox cat {token}/namespace"
    assert six.kubectl("exec", "client", "--", "sh", "-c", script).strip() == "default"
    environment = six.kubectl("exec", "client", "--", "sh", "-c", "echo $KUBERNETES_PORT").strip()
    assert environment == "tcp://[fd00:10:96::1]:443"


def test_the_node_s_own_addresses_serve(six: Machine) -> None:
    balanced = six.get("service", "web")["status"]["loadBalancer"]["ingress"]
    assert [entry["ip"] for entry in balanced] == [ADDRESS]
    for port in (81, 30081, 8081):
        url = f"http://[{ADDRESS}]:{port}/index.html"
        until(lambda url=url: six.fetch(url) == "hello\n", f"{url} answers")  # type: ignore[misc]

    def by_ingress() -> str:
        def read() -> str:
            connection = http.client.HTTPConnection(ADDRESS, 80, timeout=5)
            connection.request("GET", "/index.html", headers={"Host": "web.test"})
            return connection.getresponse().read().decode()

        return six.inside(read)

    until(lambda: by_ingress() == "hello\n", "the ingress answers")
    until(lambda: six.get("ingress", "web")["status"]["loadBalancer"]["ingress"] == [{"ip": ADDRESS}], "it is told")


def test_kubectl_reaches_nodes_and_pods(six: Machine) -> None:
    assert six.kubectl("exec", "web", "--", "busybox", "cat", "/tmp/index.html") == "hello\n"
    assert "busybox" in six.kubectl("get", "--raw", "/api/v1/nodes/" + six.name + "/proxy/pods")
    assert six.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/web:8080/proxy/index.html") == "hello\n"
    assert six.kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:81/proxy/index.html") == "hello\n"
    process = six.start_kubectl("port-forward", "pod/web", "9090:8080")
    until(lambda: six.fetch("http://127.0.0.1:9090/index.html") == "hello\n", "the forwarded port answers")
    process.kill()
    process.wait()
    # From elsewhere: by the node's address, which the certificate names.
    server = f"https://[{ADDRESS}]:6443"
    assert "web" in six.kubectl("--server", server, "get", "pods", "-o", "name")
    assert "web" in six.pilothouse("status")


def test_a_policy_holds(six: Machine) -> None:
    web = address(six, "web")
    until(lambda: ask(six, web, 8080) == "hello", "the pod answers")
    six.apply(DENY)
    until(lambda: ask(six, web, 8080) == "", "it is denied")
    until(lambda: "8080/tcp" in six.pilothouse("network", "denied"), "the denied flow is listed")
    assert six.get("pod", "web")["status"]["containerStatuses"][0]["ready"], "the node's probes are not denied"
    six.kubectl("delete", "networkpolicy", "web")
    until(lambda: ask(six, web, 8080) == "hello", "the pod answers again")


def test_a_new_engine_takes_over_what_is_there(six: Machine) -> None:
    service = six.get("service", "web")["spec"]["clusterIP"]
    before, starts = six.run("ip", "-6", "route"), six.starts()
    assert six.run("ip", "route") == ""
    six.pilothouse("stop")
    assert six.fetch(f"http://[{service}]:81/index.html") == "hello\n", "services answer while the engine is down"
    six.up()
    assert six.run("ip", "-6", "route") == before
    assert six.starts() == starts
    until(lambda: ask(six, "web", 81) == "hello", "the service answers by its name")


@pytest.mark.slow
def test_ipv6_first(machine: Machine, images: Images) -> None:
    """What asks for nothing gets IPv6 first, and what asks for both gets both."""
    if machine.data_dir.exists():
        machine.pilothouse("down", "--purge")
    machine.address = "192.0.2.50"
    machine.take_address("lan0")
    machine.address = ADDRESS
    machine.up("--pod-cidr", f"{PODS},10.244.0.0/16", "--service-cidr", f"{SERVICES},10.96.0.0/16")
    machine.pilothouse("stop")
    machine.address = f"{ADDRESS},192.0.2.50"
    machine.up()
    machine.kubectl("label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=privileged")
    machine.apply(WORLD.format(image=images.tools))
    machine.kubectl("patch", "service", "web", "-p", '{"spec": {"ipFamilyPolicy": "PreferDualStack"}}')
    machine.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    service = machine.get("service", "web")["spec"]
    assert service["ipFamilies"] == ["IPv6", "IPv4"]
    node = machine.get("node", machine.name)
    internal = [e["address"] for e in node["status"]["addresses"] if e["type"] == "InternalIP"]
    assert internal == [ADDRESS, "192.0.2.50"]
    assert node["spec"]["podCIDRs"] == ["fd00:10:244::/64", "10.244.0.0/24"]
    for found in (*service["clusterIPs"], ADDRESS, "192.0.2.50"):
        until(lambda found=found: ask(machine, found, 81) == "hello", f"{found} answers")  # type: ignore[misc]
    assert ask(machine, "web", 81) == "hello"
    machine.pilothouse("down", "--purge")


@pytest.mark.slow
def test_two_machines_reach_each_other(two_machines: tuple[Machine, Machine], images: Images) -> None:
    first, second = two_machines
    for machine, found in ((first, ADDRESS), (second, OTHER)):
        machine.run("ip", "address", "flush", "dev", "pair0")
        machine.address = found
        machine.take_address("pair0")
    first.up(*UP)
    first.kubectl("label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=privileged")
    join = first.pilothouse("node", "token").split()
    assert join[3] == f"[{ADDRESS}]:6443"
    second.pilothouse(*join[1:], "--background", "--node-name", second.name)
    for name, machine in (("web", first), ("client", second)):
        where = f'{{"spec": {{"nodeName": "{machine.name}"}}}}'
        documents = [text for text in WORLD.format(image=images.tools).split("---\n") if f"name: {name}," in text]
        patched = first.kubectl("patch", "--local", "-f", "-", "-p", where, "-o", "yaml", stdin=documents[-1])
        first.apply(patched)
    first.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", seconds=70)
    assert address(first, "client").startswith("fd00:10:244:1:")
    until(lambda: ask(first, address(first, "web"), 8080) == "hello", "the pod on the other machine answers")
    assert first.kubectl("logs", "client") == "", "the API reaches the other node"
