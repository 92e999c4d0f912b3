"""`status` tells where services and ingresses are reached from outside, or that they are not."""

from __future__ import annotations

from typing import Any

from pilothouse.cli.overview import Overview, gather
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.testing.control_plane import ControlPlane


async def test_addresses_from_outside_are_shown() -> None:
    async with ControlPlane() as plane:
        client = plane.client()
        await client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        spec: dict[str, Any] = {"type": "LoadBalancer", "ports": [{"port": 81}]}
        await client.create_tree(Service.resource, {"metadata": {"name": "web"}, "spec": spec}, "shop")
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 81}}}}
        spec = {"tls": [{"hosts": ["a.b"]}], "rules": [{"host": "a.b", "http": {"paths": [path]}}]}
        await client.create_tree(Ingress.resource, {"metadata": {"name": "site"}, "spec": spec}, "shop")
        before = Overview(engine={})
        await gather(client, before)
        assert {problem.split(" ")[0] for problem in before.problems} == {"service/web", "ingress/site"}
        status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        for cls, name in ((Service, "web"), (Ingress, "site")):
            await client.patch(cls, name, "shop", {"status": status}, subresource="status")
        after = Overview(engine={})
        await gather(client, after)
        assert not after.problems
        shown = {entry["name"]: entry["ports"] for entry in after.services}
        assert "192.0.2.1:81/TCP" in shown["web"]
        assert shown["site"] == ["https://a.b/ at 192.0.2.1"]
