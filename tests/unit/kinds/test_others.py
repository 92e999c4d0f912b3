import base64

import pytest

from pilothouse.kinds.certificates import csr
from pilothouse.kinds.coordination import lease
from pilothouse.kinds.core import event, node
from pilothouse.kinds.discovery import endpoint_slice
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.networking import network_policy
from pilothouse.kinds.node import runtime_class
from pilothouse.kinds.rbac import role, role_binding
from pilothouse.kinds.scheduling import priority_class
from pilothouse.machinery.objects import Obj

from .trees import changed, defaulted, faults

META = {"name": "x", "namespace": "shop"}
GROUP = "rbac.authorization.k8s.io"
BINDING = {
    "metadata": META,
    "roleRef": {"kind": "Role", "name": "reader"},
    "subjects": [{"kind": "User", "name": "ann"}],
}
POLICY = {"metadata": META, "spec": {"podSelector": {}}}
SLICE = {"metadata": META, "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.5"]}], "ports": [{"port": 80}]}
REQUEST = {
    "metadata": {"name": "node-1"},
    "spec": {
        "request": base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\n").decode(),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["client auth", "digital signature"],
    },
}
NODE = {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.0.0/24"}}


def test_network_policies_say_which_way_they_look() -> None:
    assert defaulted(network_policy.KIND, POLICY)["spec"]["policyTypes"] == ["Ingress"]
    both = changed(POLICY, "spec.egress", [{"ports": [{"port": 53}]}])
    spec = defaulted(network_policy.KIND, both)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"][0]["ports"] == [{"port": 53, "protocol": "TCP"}]


def test_bindings_name_the_group_of_role_and_subjects() -> None:
    found = defaulted(role_binding.ROLE_BINDING, BINDING)
    assert found["roleRef"]["apiGroup"] == found["subjects"][0]["apiGroup"] == GROUP


def test_a_node_lists_its_ranges_and_what_it_can_allocate() -> None:
    tree = changed(NODE, "status", {"capacity": {"cpu": "2000m"}})
    found = defaulted(node.KIND, tree)
    assert found["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    assert found["status"]["capacity"] == found["status"]["allocatable"] == {"cpu": "2"}


CASES: list[tuple[Kind, Obj, list[str]]] = [
    (
        network_policy.KIND,
        changed(POLICY, "spec.ingress", [{"from": [{}]}]),
        ["spec.ingress[0].from[0]: Required value: must specify a peer"],
    ),
    (
        network_policy.KIND,
        changed(POLICY, "spec.ingress", [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]),
        ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict subset of `cidr`'],
    ),
    (
        network_policy.KIND,
        changed(POLICY, "spec.egress", [{"ports": [{"port": 90, "endPort": 80}]}]),
        ["spec.egress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`"],
    ),
    (
        network_policy.KIND,
        changed(POLICY, "spec.policyTypes", ["Sideways"]),
        ['spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Ingress", "Egress"'],
    ),
    (
        role.ROLE,
        {"metadata": META, "rules": [{"verbs": [], "nonResourceURLs": ["/metrics"]}]},
        [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs',
        ],
    ),
    (
        role.CLUSTER_ROLE,
        {"metadata": {"name": "system:node"}, "rules": [{"verbs": ["get"]}]},
        [
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ],
    ),
    (
        role_binding.CLUSTER_ROLE_BINDING,
        {**BINDING, "metadata": {"name": "x"}},
        ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
    ),
    (
        role_binding.CLUSTER_ROLE_BINDING,
        {
            "metadata": {"name": "x"},
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot"}],
        },
        ["subjects[0].namespace: Required value"],
    ),
    (
        role_binding.ROLE_BINDING,
        {**BINDING, "subjects": [{"kind": "ServiceAccount", "name": "robot"}]},
        [],
    ),
    (
        endpoint_slice.KIND,
        changed(SLICE, "endpoints.0.addresses", ["fd00::1", "127.0.0.1"]),
        [
            'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address',
            'endpoints[0].addresses[1]: Invalid value: "127.0.0.1": '
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ],
    ),
    (
        endpoint_slice.KIND,
        changed(SLICE, "ports", [{"port": 1}, {"port": 2}]),
        ['ports[1].name: Duplicate value: ""'],
    ),
    (
        lease.KIND,
        {"metadata": META, "spec": {"leaseDurationSeconds": 0}},
        ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
    ),
    # How a leader of client-go gives its lease back.
    (lease.KIND, {"metadata": META, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}, []),
    (
        lease.KIND,
        {"metadata": META, "spec": {"preferredHolder": "b"}},
        ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
    ),
    (
        lease.KIND,
        {"metadata": META, "spec": {"strategy": "Oldest"}},
        ['spec.strategy: Unsupported value: "Oldest": supported values: "OldestEmulationVersion"'],
    ),
    (lease.KIND, {"metadata": META, "spec": {"strategy": "example.org/mine", "preferredHolder": "b"}}, []),
    (
        node.KIND,
        changed(NODE, "spec.taints", [{"key": "a", "effect": "Sometimes"}]),
        [
            'metadata.taints[0].effect: Unsupported value: "Sometimes": '
            'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
        ],
    ),
    (
        event.KIND,
        {"metadata": META, "involvedObject": {"namespace": "other", "name": "p"}},
        ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
    ),
    (event.KIND, {"metadata": {"name": "e", "namespace": "default"}, "involvedObject": {"kind": "Node"}}, []),
    (
        priority_class.KIND,
        {"metadata": {"name": "mine"}, "value": 2_000_000_000},
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    (priority_class.KIND, {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}, []),
    (
        priority_class.KIND,
        {"metadata": {"name": "system-mine"}, "value": 1},
        ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"],
    ),
    (runtime_class.KIND, {"metadata": {"name": "gvisor"}, "handler": "runsc"}, []),
    (csr.KIND, REQUEST, []),
    (
        csr.KIND,
        changed(REQUEST, "status", {"conditions": [{"type": t, "status": "True"} for t in ("Approved", "Denied")]}),
        [
            'status.conditions: Invalid value: ["Approved","Denied"]: '
            "Approved and Denied conditions are mutually exclusive"
        ],
    ),
    (csr.KIND, changed(REQUEST, "spec.usages", []), ["spec.usages: Required value"]),
    (
        csr.KIND,
        changed(REQUEST, "spec.request", "bm90IHBlbQ=="),
        ['spec.request: Invalid value: "<contents not shown>": PEM block type must be CERTIFICATE REQUEST'],
    ),
    (
        csr.KIND,
        changed(REQUEST, "spec.signerName", "nobody"),
        [
            'spec.signerName: Invalid value: "nobody": '
            "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        ],
    ),
]


@pytest.mark.parametrize(("kind", "tree", "expected"), CASES, ids=lambda case: str(case)[:40])
def test_rules(kind: Kind, tree: Obj, expected: list[str]) -> None:
    assert faults(kind, tree) == expected


UPDATES: list[tuple[Kind, Obj, str, object, str]] = [
    (role_binding.ROLE_BINDING, BINDING, "roleRef.name", "writer", "cannot change roleRef"),
    (endpoint_slice.KIND, SLICE, "addressType", "FQDN", "field is immutable"),
    (
        node.KIND,
        NODE,
        "spec",
        {"podCIDR": "10.0.0.0/24"},
        'node updates may not change podCIDR except from "" to valid',
    ),
    (runtime_class.KIND, {"metadata": {"name": "r"}, "handler": "runc"}, "handler", "crun", "field is immutable"),
    (priority_class.KIND, {"metadata": {"name": "p"}, "value": 1}, "value", 2, "may not be changed in an update."),
    (
        csr.KIND,
        changed(REQUEST, "status", {"conditions": [{"type": "Approved", "status": "True"}]}),
        "status",
        {},
        'updates may not remove a condition of type "Approved"',
    ),
]


@pytest.mark.parametrize(("kind", "old", "path", "value", "ending"), UPDATES, ids=lambda case: str(case)[:30])
def test_what_may_not_change(kind: Kind, old: Obj, path: str, value: object, ending: str) -> None:
    found = faults(kind, changed(old, path, value), old)
    assert found
    assert any(fault.endswith(ending) for fault in found)


def test_events_are_selected_by_what_they_are_about() -> None:
    tree = {
        "metadata": META,
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "reason": "Pulled",
        "source": {"component": "node"},
        "type": "Normal",
    }
    fields = event.KIND.selectable_fields(tree)
    assert fields["involvedObject.name"] == "web"
    assert (fields["reason"], fields["source"], fields["type"]) == ("Pulled", "node", "Normal")


def test_a_signing_request_stays_what_was_asked_for() -> None:
    new = changed(REQUEST, "spec.expirationSeconds", 900)
    csr.KIND.prepare_update(new, REQUEST)
    assert new["spec"] == REQUEST["spec"]
