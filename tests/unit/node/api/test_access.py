"""Who may use the node's API: by certificate or token, as the cluster answers, and for how long that is believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pilothouse.machinery.errors import Forbidden, ServiceUnavailable, Unauthorized
from pilothouse.node.api.authorise import API_SERVER, Access, Caller, needed

PROMETHEUS = Caller("system:serviceaccount:mon:prometheus", "u1", ("system:serviceaccounts",))


@dataclass
class FakeCluster:
    """Knows one token, and what is allowed by subresource."""

    allowed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    away: bool = False

    async def who(self, token: str) -> Caller | None:
        if self.away:
            raise ServiceUnavailable("connection refused")
        self.asked.append("who")
        return PROMETHEUS if token == "good" else None

    async def may(self, caller: Caller, verb: str, subresource: str) -> bool:
        self.asked.append(f"{caller.name} {verb} {subresource}")
        return subresource in self.allowed


def certificate(name: str, *groups: str) -> dict[str, Any]:
    return {"subject": ((("commonName", name),), *((("organizationName", group),) for group in groups))}


def access(cluster: FakeCluster | None, now: list[float]) -> Access:
    return Access(reviewer=cluster, clock=lambda: now[0])


async def test_the_api_server_may_do_everything() -> None:
    await access(None, [0.0]).check(certificate(API_SERVER), "", "POST", "/exec/a/b/c")


async def test_nobody_else_without_a_cluster_to_ask() -> None:
    with pytest.raises(Forbidden):
        await access(None, [0.0]).check(certificate("kube-admin", "system:masters"), "", "GET", "/metrics")
    with pytest.raises(Unauthorized):
        await access(None, [0.0]).check(None, "Bearer good", "GET", "/metrics")


async def test_a_token_is_looked_up_and_believed_for_a_while() -> None:
    cluster, now = FakeCluster({"metrics"}), [0.0]
    made = access(cluster, now)
    await made.check(None, "Bearer good", "GET", "/metrics/cadvisor")
    await made.check(None, "Bearer good", "GET", "/metrics")
    assert cluster.asked == ["who", f"{PROMETHEUS.name} get metrics"]
    now[0] = 400.0
    cluster.allowed.clear()
    with pytest.raises(Forbidden, match=r"verb=get, resource=nodes, subresource\(s\)=\[metrics\]"):
        await made.check(None, "Bearer good", "GET", "/metrics")
    with pytest.raises(Unauthorized, match="not one of the cluster"):
        await made.check(None, "Bearer bad", "GET", "/metrics")
    with pytest.raises(Unauthorized):
        await made.check(None, "", "GET", "/metrics")


async def test_a_certificate_names_user_and_groups() -> None:
    cluster = FakeCluster({"proxy"})
    await access(cluster, [0.0]).check(certificate("ann", "ops"), "", "GET", "/pods")
    assert cluster.asked == ["ann get pods", "ann get proxy"]


async def test_a_cluster_that_is_away_is_said_so() -> None:
    with pytest.raises(ServiceUnavailable, match="the cluster cannot be asked"):
        await access(FakeCluster(away=True), [0.0]).check(None, "Bearer good", "GET", "/metrics")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/metrics/probes", ("get", ["metrics"])),
        ("GET", "/stats/summary", ("get", ["stats"])),
        ("GET", "/healthz", ("get", ["healthz", "proxy"])),
        ("GET", "/configz", ("get", ["configz", "proxy"])),
        ("GET", "/containerLogs/a/b/c", ("get", ["proxy"])),
        ("POST", "/exec/a/b/c", ("create", ["proxy"])),
        ("GET", "/anything/else", ("get", ["proxy"])),
    ],
)
def test_what_a_path_needs(method: str, path: str, expected: tuple[str, list[str]]) -> None:
    assert needed(method, path) == expected
