"""What `deploy` makes of the server's answers."""

from __future__ import annotations

import pytest

from pilothouse.cli.apply import Applied, Applier, _warnings
from pilothouse.cli.manifests import Manifest, in_order
from pilothouse.testing.control_plane import ControlPlane


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("", []),
        ('299 - "one"', ["one"]),
        ('299 - "one", 299 - "two, three"', ["one", "two, three"]),
        (
            r'299 - "would violate \"restricted:latest\": x", 299 - "b\\c"',
            ['would violate "restricted:latest": x', "b\\c"],
        ),
    ],
)
def test_warnings_are_read_whole(header: str, texts: list[str]) -> None:
    assert _warnings(header) == texts


async def test_a_definition_and_its_objects_are_applied_in_one_go() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "boats", "kind": "Boat"}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
    trees = [
        {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"size": 3}},
        {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"sise": 3}},
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "boats.example.com"},
            "spec": spec,
        },
    ]
    manifests = [Manifest(tree, "a.yaml", line) for line, tree in enumerate(trees)]
    async with ControlPlane() as plane:
        applier = Applier(plane.client(), "default")
        outcomes = [await applier.apply(manifest) for manifest in in_order(manifests)]
    definition, good, bad = outcomes
    assert isinstance(definition, Applied)
    assert isinstance(good, Applied)
    assert isinstance(bad, list)
    assert ".spec.sise: field not declared in schema" in bad[0].message
