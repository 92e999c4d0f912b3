"""What Ingresses, their classes and IPAddresses are refused for, in upstream's words."""

from __future__ import annotations

import pytest

from pilothouse.kinds.kind import Kind
from pilothouse.kinds.networking import ingress, ingress_class, ip_address
from pilothouse.machinery.objects import Obj

SERVICE = {"service": {"name": "web", "port": {"number": 80}}}
BACKEND = "spec.defaultBackend"
WILDCARD = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    r"regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def faults(kind: Kind, spec: Obj, old: Obj | None = None) -> list[str]:
    name = "10.0.0.1" if kind is ip_address.KIND else "x"
    metadata = {"name": name, "namespace": "default"} if kind.resource.namespaced else {"name": name}
    tree: Obj = {"metadata": metadata, "spec": spec}
    kind.default(tree)
    return [f"{cause.field}: {cause.message}" for cause in kind.validate(tree, old)]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"defaultBackend": SERVICE}, []),
        ({}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
        ({"defaultBackend": {}}, [f'{BACKEND}: Invalid value: "": resource or service backend is required']),
        (
            {"defaultBackend": {"service": {"name": "web"}}},
            [f"{BACKEND}: Required value: port name or number is required"],
        ),
        (
            {"defaultBackend": {"service": {"name": "web", "port": {"name": "a", "number": 1}}}},
            [f'{BACKEND}: Invalid value: "": cannot set both port name & port number'],
        ),
        (
            {"defaultBackend": {"service": {"name": "web", "port": {"name": "80"}}}},
            [f'{BACKEND}.service.port.name: Invalid value: "80": must contain at least one letter (a-z)'],
        ),
        ({"rules": [{"http": {}}]}, ["spec.rules[0].http.paths: Required value"]),
        (
            {"rules": [{"http": {"paths": [{"path": "/"}]}}]},
            ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            {"rules": [{"host": "10.0.0.1"}]},
            ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
        ),
        ({"rules": [{"host": "*.shop.example"}]}, []),
        ({"rules": [{"host": "a.*"}]}, [f'spec.rules[0].host: Invalid value: "a.*": {WILDCARD}']),
    ],
)
def test_ingresses(spec: Obj, said: list[str]) -> None:
    assert faults(ingress.KIND, spec) == said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"controller": "a.io/b/c"}, []),
        ({}, ["spec.controller: Required value"]),
        (
            {"controller": "a.io"},
            [
                'spec.controller: Invalid value: "a.io": must be a domain-prefixed path (such as "acme.io/foo")',
            ],
        ),
        (
            {"controller": "a.io/ "},
            [
                'spec.controller: Invalid value: " ": Invalid path (regex used for validation is '
                r"'[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"
            ],
        ),
        ({"controller": f"a.io/{'x' * 250}"}, ["spec.controller: Too long: may not be more than 250 bytes"]),
        ({"controller": "a.io/b", "parameters": {"kind": "P", "name": "x"}}, []),
        (
            {"controller": "a.io/b", "parameters": {"apiGroup": "a.io", "name": "x/y"}},
            [
                "spec.parameters.kind: Required value",
                "spec.parameters.name: Invalid value: \"x/y\": may not contain '/'",
            ],
        ),
        (
            {"controller": "a.io/b", "parameters": {"kind": "P", "name": "x", "scope": "Namespace"}},
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            {
                "controller": "a.io/b",
                "parameters": {"kind": "P", "name": "x", "scope": "Namespace", "namespace": "a.b"},
            },
            ['spec.parameters.namespace: Invalid value: "a.b": must not contain dots'],
        ),
        (
            {"controller": "a.io/b", "parameters": {"kind": "P", "name": "x", "namespace": "default"}},
            ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        ),
        (
            {"controller": "a.io/b", "parameters": {"kind": "P", "name": "x", "scope": "Town"}},
            ['spec.parameters.scope: Unsupported value: "Town": supported values: "Cluster", "Namespace"'],
        ),
    ],
)
def test_ingress_classes(spec: Obj, said: list[str]) -> None:
    assert faults(ingress_class.KIND, spec) == said


def test_a_class_serves_the_cluster_unless_it_says_a_namespace() -> None:
    tree: Obj = {"metadata": {"name": "x"}, "spec": {"controller": "a/b", "parameters": {"kind": "P", "name": "x"}}}
    ingress_class.KIND.default(tree)
    assert tree["spec"]["parameters"]["scope"] == "Cluster"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"resource": "services", "namespace": "default", "name": "web"}, []),
        (
            {"group": "A", "resource": "a/b", "namespace": "..", "name": "%"},
            [
                "spec.parentRef.resource: Invalid value: \"a/b\": may not contain '/'",
                "spec.parentRef.name: Invalid value: \"%\": may not contain '%'",
                "spec.parentRef.namespace: Invalid value: \"..\": may not be '..'",
            ],
        ),
        ({}, ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"]),
    ],
)
def test_parents_of_addresses(reference: Obj, said: list[str]) -> None:
    found = faults(ip_address.KIND, {"parentRef": reference})
    assert [fault for fault in found if not fault.startswith("spec.parentRef.group")] == said
    assert any(fault.startswith("spec.parentRef.group") for fault in found) == ("group" in reference)
