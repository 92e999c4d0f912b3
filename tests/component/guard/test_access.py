"""`pilothouse access` over a control plane with the default roles."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from pilothouse.apiserver.bootstrap.component_roles import CLUSTER_ROLE_BINDINGS as COMPONENT_BINDINGS
from pilothouse.apiserver.bootstrap.component_roles import CLUSTER_ROLES as COMPONENT_ROLES
from pilothouse.apiserver.bootstrap.user_roles import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from pilothouse.cli import access
from pilothouse.cli.errors import CommandError
from pilothouse.guard.access.read import read_cluster
from pilothouse.guard.access.spread import Cluster, State
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with ControlPlane() as plane:
        client = plane.client()
        for tree in (*CLUSTER_ROLES, *COMPONENT_ROLES):
            await client.create_tree(ClusterRole.resource, tree)
        for tree in (*CLUSTER_ROLE_BINDINGS, *COMPONENT_BINDINGS):
            await client.create_tree(ClusterRoleBinding.resource, tree)
        await client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        await client.create_tree(ServiceAccount.resource, {"metadata": {"name": "app"}}, "shop")
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
        subjects = [{"kind": "ServiceAccount", "name": "app", "namespace": "shop"}]
        tree = {"metadata": {"name": "app-edits"}, "roleRef": ref, "subjects": subjects}
        await client.create_tree(RoleBinding.resource, tree, "shop")
        spec = {"serviceAccountName": "app", "containers": [{"name": "c", "image": "app"}]}
        await client.create_tree(Pod.resource, {"metadata": {"name": "front"}, "spec": spec}, "shop")
        await client.create_tree(Node.resource, {"metadata": {"name": "n1"}})
        secret = {"name": "v", "secret": {"secretName": "key"}}
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "app"}], "volumes": [secret]}
        await client.create_tree(Pod.resource, {"metadata": {"name": "held"}, "spec": spec}, "shop")
        yield await read_cluster(client)


def of(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_read", lambda data_dir, kubeconfig: cluster)


async def test_who_can(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of(cluster, monkeypatch)
    access.run_who_can("create", "deploy", "shop", "", None, "", None)
    told = capsys.readouterr().out
    assert "ServiceAccount shop/app" in told
    assert "RoleBinding shop/app-edits" in told
    access.run_who_can("create", "deployments.apps", "bank", "", None, "", None)
    assert "shop/app" not in capsys.readouterr().out


async def test_what_can(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of(cluster, monkeypatch)
    access.run_what_can("sa:shop/app", [], None, "", None)
    told = capsys.readouterr().out
    assert "RoleBinding shop/app-edits to ClusterRole edit" in told
    assert "get /api,/api/*" in told  # by a group that every account is in


async def test_rights_of_nodes_are_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of(cluster, monkeypatch)
    access.run_who_can("get", "secrets", "shop", "", None, "", None)
    assert "the node authoriser: those its pods and their volumes name" in capsys.readouterr().out
    access.run_who_can("delete", "secrets", "shop", "", None, "", None)
    assert "node authoriser" not in capsys.readouterr().out
    access.run_what_can("user:system:node:n1", [], None, "", None)
    assert "get,list,watch secrets" in capsys.readouterr().out
    access.run_paths("user:system:node:n1", None, ["secrets"], [], None, "", None)
    assert "may read Secrets: Secret shop/key   (by the node authoriser, for Pod shop/held)" in capsys.readouterr().out
    with pytest.raises(CommandError):
        access.run_paths("user:system:node:n9", None, [], [], None, "", None)


async def test_groups_of_a_certificate_count(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of(cluster, monkeypatch)
    access.run_what_can("user:ann", ["system:masters"], None, "", None)
    assert re.search(r"everything +everywhere +the group system:masters", capsys.readouterr().out)
    access.run_paths("user:ann", None, ["cluster-admin"], ["system:masters"], None, "", None)
    assert "1. User ann may do everything: cluster-admin" in capsys.readouterr().out
    with pytest.raises(CommandError):
        access.run_paths("user:ann", None, [], ["nobody-knows"], None, "", None)


async def test_a_kind_that_is_not_there_is_noted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of(cluster, monkeypatch)
    access.run_who_can("get", "secretz", "shop", "", None, "", None)
    assert "no kind is called secretz" in capsys.readouterr().err


async def test_a_subject_that_is_not_there_is_refused_with_a_hint(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of(cluster, monkeypatch)
    with pytest.raises(CommandError):
        access.run_what_can("sa:shop/ap", [], None, "", None)
    assert "did you mean ServiceAccount shop/app?" in capsys.readouterr().err


async def test_paths(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of(cluster, monkeypatch)
    access.run_paths(None, None, ["secrets"], [], None, "", None)
    assert capsys.readouterr().out.splitlines() == [
        "ServiceAccount shop/app -> Secrets of namespace shop",
        "  1. ServiceAccount shop/app may read Secrets: Secrets of namespace shop"
        "   (by RoleBinding shop/app-edits to ClusterRole edit)",
    ]
    access.run_paths(None, "shop/front", ["secrets"], [], None, "", None)
    assert "1. Pod shop/front holds the token of ServiceAccount shop/app" in capsys.readouterr().out
    with pytest.raises(CommandError):
        access.run_paths(None, "shop/back", [], [], None, "", None)


async def test_the_systems_own_parts_reach_nothing_by_surprise(cluster: Cluster) -> None:
    """Which of the engine's parts get to cluster-admin: those that may write everything, and nobody else."""
    reaching = {
        str(subject)
        for subject in cluster.rights.grants
        if State("cluster-admin") in cluster.paths(State("subject", subject.name, subject))
    }
    assert "Group system:masters" in reaching
    assert not {name for name in reaching if "authenticated" in name or "live-checks" in name}
    await asyncio.sleep(0)
