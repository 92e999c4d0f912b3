"""`pilothouse namespace create`: what it makes is what the checks ask for, and the API takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pilothouse.cli.errors import CommandError
from pilothouse.cli.namespace import Wanted, load_profile, namespace_objects, profile_names, run_create
from pilothouse.guard.access.rights import Asked, Subject, rights_of
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import judge
from pilothouse.kinds.catalogue import by_kind
from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.rbac.role import Role
from pilothouse.kinds.rbac.role_binding import RoleBinding
from pilothouse.kinds.view import from_tree
from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import plan, understand
from pilothouse.network.verdict import Attempt, allowed
from pilothouse.testing.control_plane import ControlPlane

GROUPS = {"developers": "shop-developers", "operations": "operations"}


def wanted(profile: str = "small", name: str = "shop") -> Wanted:
    return Wanted(name, "shop-team", profile, GROUPS)


@pytest.mark.parametrize("profile", profile_names())
async def test_the_api_takes_it_and_no_check_of_namespaces_objects(profile: str) -> None:
    trees = namespace_objects(wanted(profile), load_profile(profile))
    async with ControlPlane() as plane:
        for tree in trees:
            group, _, version = tree["apiVersion"].rpartition("/")
            kind = by_kind(group, version, tree["kind"])
            assert kind is not None
            await plane.client().create_tree(kind.resource, tree, tree["metadata"].get("namespace"))
    found = {finding.check.id for finding in judge([Item(tree) for tree in trees]).findings}
    assert not {check for check in found if check.startswith(("namespace-", "network-policy-", "schema-", "metadata-"))}


@pytest.mark.parametrize("profile", profile_names())
def test_what_each_side_may_do_and_may_not(profile: str) -> None:
    trees = namespace_objects(wanted(profile), load_profile(profile))
    roles = [from_tree(Role, tree) for tree in trees if tree["kind"] == "Role"]
    bindings = [from_tree(RoleBinding, tree) for tree in trees if tree["kind"] == "RoleBinding"]
    rights = rights_of([], roles, [], bindings)

    def may(group: str, verb: str, what: str, of: str = "", namespace: str = "shop") -> bool:
        resource, _, sub = what.partition("/")
        return rights.allowing(Subject("Group", group), (), Asked(verb, of, resource, sub, namespace)) is not None

    assert may("shop-developers", "create", "deployments", "apps")
    assert may("shop-developers", "create", "exemptions", "guard.pilothouse.dev")
    assert not may("shop-developers", "approve", "exemptions", "guard.pilothouse.dev")
    assert not may("shop-developers", "get", "secrets")
    assert not may("shop-developers", "update", "resourcequotas")
    assert not may("shop-developers", "create", "deployments", "apps", "bank")
    assert may("operations", "approve", "exemptions", "guard.pilothouse.dev")
    assert may("operations", "update", "resourcequotas")
    assert not may("operations", "create", "deployments", "apps")
    assert not may("operations", "get", "secrets")


def test_a_new_namespace_reaches_itself_and_asks_names_of_cluster_dns_alone() -> None:
    trees = namespace_objects(wanted(), load_profile("small"))
    policies = [from_tree(NetworkPolicy, tree) for tree in trees if tree["kind"] == "NetworkPolicy"]
    in_force = plan(understand(policy) for policy in policies)
    pods = {
        "10.0.0.1": PodFacts("shop/a", "shop", "10.0.0.1", {}, local=True),
        "10.0.0.2": PodFacts("shop/b", "shop", "10.0.0.2", {}, local=True),
        "10.0.0.3": PodFacts("bank/c", "bank", "10.0.0.3", {}, local=True),
        "10.1.0.10": PodFacts("kube-system/dns", "kube-system", "10.1.0.10", {"k8s-app": "kube-dns"}),
    }
    spaces = {name: {"kubernetes.io/metadata.name": name} for name in ("shop", "bank", "kube-system")}

    def passes(source: str, destination: str, protocol: str, port: int) -> bool:
        return allowed(in_force, pods, spaces, Attempt(source, destination, protocol, port))

    assert passes("10.0.0.1", "10.1.0.10", "udp", 53)
    assert passes("10.0.0.1", "10.1.0.10", "tcp", 53)
    assert passes("10.0.0.1", "10.0.0.2", "tcp", 80)
    assert not passes("10.0.0.1", "8.8.8.8", "udp", 53)
    assert not passes("10.0.0.1", "10.0.0.3", "udp", 53)
    assert not passes("10.0.0.3", "10.0.0.1", "tcp", 80)


def test_roles_say_in_words_what_each_side_answers_for() -> None:
    trees = namespace_objects(wanted(), load_profile("small"))
    words = {
        tree["metadata"]["name"]: tree["metadata"]["annotations"]["pilothouse.io/responsible-for"]
        for tree in trees
        if tree["kind"] == "Role"
    }
    assert words["developers"].startswith("Developers own what runs")
    assert words["operations"].startswith("Operations own what it runs on")


def test_a_dry_run_prints_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_create(wanted(), True, None, "", None) == 0
    kinds = [tree["kind"] for tree in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds[:3] == ["Namespace", "ResourceQuota", "LimitRange"]


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("description: mine\nquota: {}\nlimits: {}\npodSecurity: {}\nnetwork: {}\nroles: {}\n")
    for profile, said in (("huge", "there is large, medium, small"), (str(own), "roles.developers needs rules")):
        with pytest.raises(CommandError):
            load_profile(profile)
        assert said in capsys.readouterr().err
    with pytest.raises(CommandError):
        namespace_objects(wanted(name="Shop"), load_profile("small"))
    assert "name 'Shop'" in capsys.readouterr().err


def test_a_dry_run_is_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_create(wanted(), True, "json", "", None) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["items"] == namespace_objects(wanted(), load_profile("small"))
    with pytest.raises(CommandError):
        run_create(wanted(), True, "xml", "", None)
