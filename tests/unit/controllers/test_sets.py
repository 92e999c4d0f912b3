"""StatefulSets and DaemonSets: identity, claims, eligibility and the history's bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.controllers.daemon_set.placement import Placement, node_of, on_node, pod_spec
from pilothouse.controllers.daemon_set.replacements import Replacements
from pilothouse.controllers.ephemeral_volume import decide as ephemeral
from pilothouse.controllers.revisions import Create, Renumber, data_of, newest, surplus, template_of
from pilothouse.controllers.stateful_set import identity
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod

TEMPLATE = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "db:1"}]}}


def stateful_set(**spec: Any) -> StatefulSet:
    whole = {"replicas": 2, "selector": {"matchLabels": {"app": "db"}}, "template": TEMPLATE, **spec}
    return msgspec.convert({"metadata": {"name": "db", "namespace": "shop", "uid": "s"}, "spec": whole}, StatefulSet)


def revision(number: int, image: str, name: str = "") -> ControllerRevision:
    template = {"spec": {"containers": [{"image": image}]}}
    tree = {"metadata": {"name": name or f"r{number}"}, "revision": number, "data": data_of(template)}
    return msgspec.convert(tree, ControllerRevision)


def pod(name: str, **spec: Any) -> Pod:
    return msgspec.convert({"metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": spec}, Pod)


def claim(name: str, *owners: dict[str, Any]) -> PersistentVolumeClaim:
    return msgspec.convert({"metadata": {"name": name, "ownerReferences": owners}}, PersistentVolumeClaim)


@pytest.mark.parametrize(
    ("name", "ordinal"), [("db-0", 0), ("db-12", 12), ("db-x", None), ("dbx-1", None), ("db-1-2", None), ("db", None)]
)
def test_the_ordinal_is_in_the_name(name: str, ordinal: int | None) -> None:
    assert identity.ordinal_of(stateful_set(), pod(name)) == ordinal


def test_a_claim_template_replaces_the_volume_of_its_name() -> None:
    template = {**TEMPLATE, "spec": {"volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}}
    live = stateful_set(volumeClaimTemplates=[{"metadata": {"name": "data"}}], serviceName="svc")
    tree = identity.pod_tree(live, template, "db-abc", 1)
    assert tree["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    assert (tree["spec"]["hostname"], tree["spec"]["subdomain"]) == ("db-1", "svc")


@pytest.mark.parametrize(
    ("deleted", "scaled", "ordinal", "owners"),
    [
        ("Retain", "Retain", 0, []),
        ("Delete", "Retain", 0, ["StatefulSet"]),
        ("Delete", "Retain", 5, ["StatefulSet"]),
        ("Retain", "Delete", 0, []),
        ("Retain", "Delete", 5, ["Pod"]),
        ("Delete", "Delete", 0, ["StatefulSet"]),
        ("Delete", "Delete", 5, ["Pod"]),
    ],
)
def test_who_owns_a_claim(deleted: str, scaled: str, ordinal: int, owners: list[str]) -> None:
    live = stateful_set(persistentVolumeClaimRetentionPolicy={"whenDeleted": deleted, "whenScaled": scaled})
    other = {"kind": "Backup", "name": "b", "uid": "b"}
    wanted = identity.claim_owners(live, pod(f"db-{ordinal}"), claim("data", other), ordinal)
    assert [ref.kind for ref in wanted or ()] == (["Backup", *owners] if owners else [])


def test_a_claim_that_goes_with_an_earlier_pod_is_waited_for() -> None:
    assert identity.is_stale(claim("data-db-0", {"kind": "Pod", "name": "db-0", "uid": "gone"}), "db-0")
    assert not identity.is_stale(claim("data-db-0", {"kind": "StatefulSet", "name": "db", "uid": "s"}), "db-0")


def test_an_equal_template_has_one_revision() -> None:
    live = stateful_set()
    name, write = newest(live, {"spec": {"containers": [{"image": "a"}]}}, [revision(1, "a"), revision(2, "b")], None)
    assert name == "r1"
    assert isinstance(write, Renumber)
    assert write.revision == 3
    assert newest(live, {"spec": {"containers": [{"image": "b"}]}}, [revision(2, "b")], None) == ("r2", None)


def test_a_collision_changes_the_name() -> None:
    first, write = newest(stateful_set(), TEMPLATE, [], None)
    second, _ = newest(stateful_set(), TEMPLATE, [], 1)
    assert isinstance(write, Create)
    assert first != second
    kept = msgspec.convert({"data": write.tree["data"]}, ControllerRevision)
    assert template_of(kept) == TEMPLATE


def test_revisions_in_use_do_not_count_for_the_limit() -> None:
    history = [revision(number, str(number)) for number in (3, 1, 2, 4)]
    assert [r.name for r in surplus(history, {"r4", "r1"}, 1)] == ["r2"]
    assert [r.name for r in surplus(history, {"r4"}, 0)] == ["r1", "r2", "r3"]


def node(labels: dict[str, str], *taints: dict[str, str]) -> Node:
    return msgspec.convert({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}}, Node)


@pytest.mark.parametrize(
    ("judged", "run", "stay"),
    [
        (node({"role": "w"}), True, True),
        (node({}), False, False),
        (node({"role": "w"}, {"key": "own", "effect": "NoSchedule"}), False, True),
        (node({"role": "w"}, {"key": "own", "effect": "NoExecute"}), False, False),
        (node({"role": "w"}, {"key": "own", "effect": "PreferNoSchedule"}), True, True),
        (node({"role": "w"}, {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}), True, True),
        (node({"role": "w"}, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}), True, True),
        (node({"role": "w"}, {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}), False, True),
    ],
)
def test_which_nodes_are_eligible(judged: Node, run: bool, stay: bool) -> None:
    spec = {"template": {"spec": {"nodeSelector": {"role": "w"}}}}
    assert Placement(msgspec.convert({"spec": spec}, DaemonSet)).judge(judged) == (run, stay)


def test_a_pod_is_tied_to_its_node_and_found_there() -> None:
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}
    spec = on_node({"affinity": {"nodeAffinity": preferred, "podAffinity": {}}}, "n7")
    assert spec["affinity"]["nodeAffinity"].items() >= preferred.items()
    assert node_of(pod("a", **spec)) == "n7"
    assert node_of(pod("a", nodeName="n2")) == "n2"
    assert node_of(pod("a")) == ""


def test_daemons_on_the_host_s_network_tolerate_its_absence() -> None:
    keys = {toleration["key"] for toleration in pod_spec({"spec": {"hostNetwork": True}})["tolerations"]}
    assert "node.kubernetes.io/network-unavailable" in keys


def test_ended_daemons_are_replaced_ever_more_slowly() -> None:
    now = [0.0]
    replacements = Replacements(lambda: now[0])
    assert replacements.wait("d", "n") == 0
    waits = []
    for _ in range(12):
        replacements.replaced("d", "n")
        waits.append(replacements.wait("d", "n"))
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 900
    now[0] += 1801
    assert replacements.wait("d", "n") == 0


def test_a_foreign_claim_is_never_an_ephemeral_volume() -> None:
    live = pod("a", volumes=[{"name": "tmp", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}])
    assert list(ephemeral.decide(live, {}).create) == ["a-tmp"]
    own = {"kind": "Pod", "name": "a", "uid": "a", "controller": True}
    assert ephemeral.decide(live, {"a-tmp": claim("a-tmp", own)}) == ephemeral.Plan()
    assert ephemeral.decide(live, {"a-tmp": claim("a-tmp")}).conflicts
