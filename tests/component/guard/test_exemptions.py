"""Exemptions: refused without reason or end, granted by somebody else, in force until they end."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
from admission_plane import _key

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.client.wire import User
from pilothouse.guard.exemptions.accept import means
from pilothouse.guard.exemptions.watch import Exemptions
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report, home
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.guard.exemption import Exemption, ExemptionSpec, ExemptionStatus, state_of
from pilothouse.kinds.rbac.role import ClusterRole, PolicyRule
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleRef, Subject
from pilothouse.kinds.view import LabelSelector, ObjectMeta, to_tree
from pilothouse.machinery.errors import Forbidden, Invalid
from pilothouse.machinery.objects import timestamp
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

SOON = timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(days=30))
RULE = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")
APP = Ref("apps/v1", "Deployment", "shop", "app")


def spec(**changes: object) -> ExemptionSpec:
    given = {"rules": ["privileged"], "reason": "the driver needs it", "owner": "shop-team", "expires": SOON}
    return ExemptionSpec(**(given | changes))  # type: ignore[arg-type]


def exemption(**changes: object) -> Exemption:
    return Exemption(metadata=ObjectMeta(name="known", namespace="shop"), spec=spec(**changes))


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    store = MemoryStore()
    async with ControlPlane(store=store, chain=build_chain(store, _key(), "https://issuer")) as running:
        admin = running.client()
        await admin.create(Namespace(metadata=ObjectMeta(name="shop")))
        await granted(admin, "asker", ["exemptions"], ["create", "update", "patch", "get"])
        await granted(admin, "writer", ["exemptions/status"], ["update", "patch", "get"])
        await granted(admin, "granter", ["exemptions", "exemptions/status"], ["approve", "patch", "get", "update"])
        yield running


async def granted(admin: Client, name: str, resources: list[str], verbs: list[str]) -> None:
    rule = PolicyRule(verbs=verbs, resources=resources, api_groups=["guard.pilothouse.dev"])
    await admin.create(ClusterRole(metadata=ObjectMeta(name=name), rules=[rule]))
    subject = Subject(kind="User", name=name, api_group="rbac.authorization.k8s.io")
    ref = RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=name)
    await admin.create(ClusterRoleBinding(metadata=ObjectMeta(name=name), role_ref=ref, subjects=[subject]))


def as_(plane: ControlPlane, name: str) -> Client:
    return plane.client(User(name))


async def decide(client: Client, approval: str = "Approved") -> Exemption:
    return await client.patch(Exemption, "known", "shop", {"status": {"approval": approval}}, subresource="status")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": ""}, "spec.reason: Required value"),
        ({"expires": ""}, "spec.expires: Required value"),
        ({"owner": " "}, "spec.owner: Required value"),
        ({"rules": []}, "spec.rules: Required value"),
        ({"expires": "tomorrow"}, 'spec.expires: Invalid value: "tomorrow": must be a time'),
        ({"expires": "2020-01-01T00:00:00Z"}, "must be in the future"),
        ({"expires": "2099-01-01T00:00:00Z"}, "within a year"),
    ],
)
async def test_one_without_what_it_needs_is_refused(plane: ControlPlane, changes: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        await plane.client().create(exemption(**changes))
    assert said in caught.value.message


async def test_who_asked_is_written_down_and_does_not_grant(plane: ControlPlane) -> None:
    made = await plane.client().create(exemption(requested_by="somebody-else"))
    assert made.spec.requested_by == "admin"
    with pytest.raises(Forbidden, match="admin asked for it; somebody else must decide"):
        await decide(plane.client())
    decided = await decide(as_(plane, "granter"))
    assert (decided.status.approval, decided.status.decided_by) == ("Approved", "granter")


async def test_to_grant_takes_the_verb_approve(plane: ControlPlane) -> None:
    await as_(plane, "asker").create(exemption())
    with pytest.raises(Forbidden, match="not permitted to approve"):
        await decide(as_(plane, "writer"))
    written = await as_(plane, "writer").patch(
        Exemption, "known", "shop", {"status": {"used": 3, "decidedBy": "me"}}, subresource="status"
    )
    assert (written.status.used, written.status.decided_by) == (3, "")


async def test_another_wording_is_asked_for_anew(plane: ControlPlane) -> None:
    asker = as_(plane, "asker")
    await asker.create(exemption())
    await decide(as_(plane, "granter"))
    same = await asker.patch(Exemption, "known", "shop", {"metadata": {"labels": {"a": "b"}}})
    assert same.status.approval == "Approved"
    wider = await plane.client().patch(Exemption, "known", "shop", {"spec": {"rules": ["*"]}})
    assert (wider.status.approval, wider.spec.requested_by) == ("", "admin")


def test_what_an_exemption_means() -> None:
    finding = Wrong(RULE, APP, "is wrong", "front")
    assert means(exemption(), finding, {})
    assert means(exemption(rules=["*"], kinds=["Deployment"], names=["a*"]), finding, {})
    assert not means(exemption(rules=["tag"]), finding, {})
    assert not means(exemption(kinds=["Pod"]), finding, {})
    assert not means(exemption(names=["b*"]), finding, {})
    selective = exemption(selector=LabelSelector(match_labels={"tier": "web"}))
    assert means(selective, finding, {"tier": "web"})
    assert not means(selective, finding, {"tier": "db"})
    assert not means(exemption(), Wrong(RULE, APP._replace(namespace="bank"), "is wrong"), {})


class Watched:
    """Exemptions over a control plane, with a clock."""

    def __init__(self, client: Client) -> None:
        self.time = dt.datetime.now(dt.UTC)
        self.client = client
        self.informer = Informer(client, Exemption)
        self.findings = Findings(now=lambda: self.time)
        self.exemptions = Exemptions(self.informer, lambda namespace: None, lambda: self.time)
        self.findings.world = self

    def owner(self, ref: Ref) -> str:
        return ""

    def exemption(self, finding: Wrong) -> str:
        return self.exemptions.accepting(finding, home(finding.ref), {})

    async def look(self) -> dict[str, str]:
        await self.informer._list()
        await self.findings.reconsider()
        await self.exemptions.look(self.client, self.findings)
        return {row.check.id: row.state for row in self.findings.state.rows.values()}


async def test_it_accepts_is_counted_and_ends(plane: ControlPlane) -> None:
    watched = Watched(plane.client())
    await as_(plane, "asker").create(exemption())
    await watched.findings.report([Report("checks", "app", (Found(Wrong(RULE, APP, "is wrong")),))])
    assert await watched.look() == {"privileged": "open"}
    await decide(as_(plane, "granter"))
    assert await watched.look() == {"privileged": "accepted"}
    assert (await plane.client().get(Exemption, "known", "shop")).status.used == 1
    watched.time += dt.timedelta(days=31)
    assert await watched.look() == {"privileged": "open", "exemption-expired": "open"}
    await watched.findings.close()


async def test_one_that_nothing_needs_is_reported(plane: ControlPlane) -> None:
    watched = Watched(plane.client())
    await as_(plane, "asker").create(exemption())
    await decide(as_(plane, "granter"))
    assert await watched.look() == {}
    watched.time += dt.timedelta(days=2)
    assert await watched.look() == {"exemption-unused": "open"}
    await plane.client().delete(Exemption, "known", "shop")
    watched.time += dt.timedelta(days=2)
    assert await watched.look() == {"exemption-unused": "resolved"}
    await watched.findings.close()


def test_states() -> None:
    asked = exemption()
    assert state_of(to_tree(asked)) == "Pending"
    asked.status = ExemptionStatus(approval="Denied")
    assert state_of(to_tree(asked)) == "Denied"
    asked.status = ExemptionStatus(approval="Approved")
    assert state_of(to_tree(asked)) == "Active"
    asked.spec.expires = "2020-01-01T00:00:00Z"
    assert state_of(to_tree(asked)) == "Expired"
