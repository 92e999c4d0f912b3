"""What is deleted: owned objects, pods beyond help, old events; and how a namespace tells of its end."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import msgspec
import pytest

from pilothouse.controllers.events_ttl.decide import EventAge, expired
from pilothouse.controllers.garbage_collector.decide import (
    Action,
    Delete,
    DropFinalizer,
    DropOwners,
    Owner,
    Unblock,
    decide,
)
from pilothouse.controllers.garbage_collector.graph import FOREGROUND, ORPHAN, Graph, Node
from pilothouse.controllers.namespace.decide import Content, blocked, conditions
from pilothouse.controllers.pod_gc.decide import (
    NODE_GONE,
    OUT_OF_SERVICE,
    ending,
    orphaned,
    stranded,
    surplus,
    unscheduled_terminating,
)
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node as CoreNode
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import OwnerReference

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def thing(
    uid: str, *owners: str, blocking: bool = True, deleting: bool = False, finalizers: tuple[str, ...] = ()
) -> Node:
    references = tuple(OwnerReference(uid=owner, name=owner, block_owner_deletion=blocking) for owner in owners)
    return Node(Pod.resource, "shop", uid, uid, "1", references, deleting, finalizers)


def decided(node: Node, dependents: list[Node], **standing: Owner) -> list[Action]:
    return decide(node, dependents, lambda owner: standing[owner.uid])


def test_an_object_goes_with_its_last_owner() -> None:
    node = thing("p", "a", "b")
    assert decided(node, [], a=Owner.GONE, b=Owner.GONE) == [Delete(node, "Background")]
    assert decided(node, [], a=Owner.GONE, b=Owner.SOLID) == [DropOwners(node, frozenset({"a"}))]
    assert decided(node, [], a=Owner.SOLID, b=Owner.SOLID) == []


def test_foreground_deletion_goes_down_the_tree_and_up_again() -> None:
    owner = thing("rs", "d", deleting=True, finalizers=(FOREGROUND,))
    dependent = thing("p", "rs")
    assert decided(owner, [dependent]) == []
    assert decided(dependent, [], rs=Owner.WAITING) == [Delete(dependent, "Background")]
    middle = thing("rs", "d")
    assert decided(middle, [dependent], d=Owner.WAITING) == [Delete(middle, "Foreground")]
    assert decided(owner, []) == [DropFinalizer(owner, FOREGROUND)]
    assert decided(owner, [thing("p", "rs", blocking=False)]) == [DropFinalizer(owner, FOREGROUND)]


def test_owners_of_one_another_stop_waiting() -> None:
    first = thing("a", "b", deleting=True, finalizers=(FOREGROUND,))
    second = thing("b", "a")
    assert decided(second, [first], a=Owner.WAITING) == [Unblock(second)]
    freed = thing("b", "a", blocking=False)
    assert decided(freed, [first], a=Owner.WAITING) == [Delete(freed, "Foreground")]
    assert decided(first, [freed]) == [DropFinalizer(first, FOREGROUND)]
    itself = thing("a", "a", deleting=True, finalizers=(FOREGROUND,))
    assert decided(itself, [itself]) == [DropFinalizer(itself, FOREGROUND)]


def test_orphaning_cuts_the_ties_first() -> None:
    owner = thing("rs", deleting=True, finalizers=(ORPHAN,))
    dependent = thing("p", "rs")
    assert decided(owner, [dependent]) == [DropOwners(dependent, frozenset({"rs"})), DropFinalizer(owner, ORPHAN)]


def test_the_graph_follows_changed_owners() -> None:
    graph = Graph()
    graph.put(thing("p", "a"))
    assert [node.uid for node in graph.dependents("a")] == ["p"]
    graph.put(thing("p", "b"))
    assert graph.dependents("a") == []
    assert [node.uid for node in graph.dependents("b")] == ["p"]
    graph.remove("p")
    assert graph.dependents("b") == []


def pod(name: str, node: str = "", phase: str = "Running", **meta: Any) -> Pod:
    tree = {"metadata": {"name": name, **meta}, "spec": {"nodeName": node}, "status": {"phase": phase}}
    return msgspec.convert(tree, Pod)


def test_pods_of_nodes_that_are_gone() -> None:
    pods = [pod("a", "here"), pod("b", "gone"), pod("c")]
    assert [p.name for p in orphaned(pods, {"here"})] == ["b"]
    waiting = pod("d", deletionTimestamp="2026-01-01T00:00:00Z")
    assert unscheduled_terminating([*pods, waiting]) == [waiting]


@pytest.mark.parametrize(
    ("ready", "taint", "found"),
    [("Unknown", OUT_OF_SERVICE, ["going"]), ("True", OUT_OF_SERVICE, []), ("Unknown", "example.org/other", [])],
)
def test_pods_being_deleted_on_a_node_that_is_out_of_service(ready: str, taint: str, found: list[str]) -> None:
    tree = {
        "metadata": {"name": "n"},
        "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    pods = [pod("stays", "n"), pod("going", "n", **going), pod("ended", "n", "Failed", **going)]
    assert [p.name for p in stranded(pods, msgspec.convert(tree, CoreNode))] == found
    assert stranded(pods, None) == []


def test_a_pod_whose_node_is_gone_has_failed_for_that_reason() -> None:
    told = ending(pod("a", "gone"), NODE_GONE, NOW)
    assert told["phase"] == "Failed"
    (condition,) = told["conditions"]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "DeletionByPodGC")
    assert ending(pod("b"), None, NOW) == {"phase": "Failed"}
    assert ending(pod("c", "gone", "Succeeded"), NODE_GONE, NOW) == {}


def test_the_oldest_ended_pods_beyond_the_limit() -> None:
    pods = [pod(f"p{day}", "n", "Failed", creationTimestamp=f"2026-01-0{day}T00:00:00Z") for day in (3, 1, 2)]
    assert [p.name for p in surplus(pods, threshold=1)] == ["p1", "p2"]
    assert surplus(pods, threshold=3) == []


def test_events_are_forgotten_after_their_time_or_when_too_many() -> None:
    def event(minutes: int) -> EventAge:
        seen = (NOW - dt.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return msgspec.convert({"metadata": {"name": str(minutes)}, "lastTimestamp": seen}, EventAge)

    events = [event(5), event(61), event(30)]
    assert [e.name for e in expired(events, NOW)] == ["61"]
    assert [e.name for e in expired(events, NOW, most=1)] == ["61", "30"]


def test_a_namespace_tells_what_remains() -> None:
    namespace = Namespace()
    content = Content({ReplicaSet.resource: 2}, Counter({"example.com/hold": 1}), held=["replicasets/web"])
    told = conditions(namespace, content, NOW)
    messages = {c.type: (c.status, c.message) for c in told}
    assert messages["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: replicasets.apps has 2 resource instances",
    )
    assert messages["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        " (replicasets/web)",
    )
    assert messages["NamespaceDeletionDiscoveryFailure"] == ("False", "All resources successfully discovered")
    namespace.status.conditions = told
    assert conditions(namespace, content, NOW) is told
    after = {c.type: c.status for c in conditions(namespace, Content(), NOW)}
    assert set(after.values()) == {"False"}
    assert conditions(Namespace(), Content(), NOW) == []


def test_what_blocks_a_namespace_is_what_waiting_does_not_end() -> None:
    assert blocked(Content({ReplicaSet.resource: 2})) == ""
    held = Content({ReplicaSet.resource: 1}, Counter({"example.com/hold": 1}), ["pods: no"], ["replicasets/web"])
    said = blocked(held)
    assert said.startswith("pods: no; Some content in the namespace has finalizers remaining: example.com/hold")
