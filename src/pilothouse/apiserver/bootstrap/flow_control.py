"""The FlowSchemas and PriorityLevelConfigurations every cluster holds. Pure.

Source: Kubernetes documentation, "API Priority and Fairness": the mandatory objects are put right whatever is done to
them; the suggested ones are kept while `apf.kubernetes.io/autoupdate-spec` says "true", and left to whoever set it to
"false". Names, shares, queues and precedence are upstream's of 1.35; `pilothouse-components` is ours, for parts of the
engine that upstream has in one program under one name.
"""

from __future__ import annotations

from typing import NamedTuple

from pilothouse.apiserver.bootstrap.component_roles import component_names
from pilothouse.apiserver.bootstrap.differences import field_patch
from pilothouse.machinery.objects import Obj

AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_EVERY = ["*"]
_WRITE_ONE = ["get", "create", "update"]
_MANAGER, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_ANYBODY = ("system:unauthenticated", "system:authenticated")


class Queues(NamedTuple):
    """How requests wait for a seat of a level: in how many queues, of which a flow may use `hand`."""

    queues: int = 128
    hand: int = 6
    length: int = 50


def mandatory_levels() -> list[Obj]:
    exempt = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    return [_object("exempt", exempt), _level("catch-all", 5, 0, None)]


def suggested_levels() -> list[Obj]:
    return [
        _level("system", 30, 33, Queues(64)),
        _level("node-high", 40, 25, Queues(64)),
        _level("leader-election", 10, 0, Queues(16, 4)),
        _level("workload-high", 40, 50, Queues()),
        _level("workload-low", 100, 90, Queues()),
        _level("global-default", 20, 50, Queues()),
    ]


def mandatory_schemas() -> list[Obj]:
    return [
        _schema("exempt", "exempt", 1, "", _everything(_groups("system:masters"))),
        _schema("catch-all", "catch-all", 10000, "ByUser", _everything(_groups(*_ANYBODY))),
    ]


def suggested_schemas() -> list[Obj]:
    health = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
    leases = _resources("coordination.k8s.io", ["leases"], verbs=_WRITE_ONE)
    nodes = _groups("system:nodes")
    return [
        _schema("probes", "exempt", 2, "", {"subjects": _groups(*_ANYBODY), "nonResourceRules": [health]}),
        _schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            {"subjects": [*_users(_MANAGER, _SCHEDULER), *_accounts("*")], "resourceRules": [leases]},
        ),
        _schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            {
                "subjects": [
                    *_users(_MANAGER),
                    *_accounts("endpoint-controller", "endpointslicemirroring-controller"),
                ],
                "resourceRules": [_resources("", ["endpoints"], verbs=_WRITE_ONE)],
            },
        ),
        _schema(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            {
                "subjects": _accounts("*"),
                "resourceRules": [_resources("", ["endpoints", "configmaps"], verbs=_WRITE_ONE), leases],
            },
        ),
        _schema(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            {
                "subjects": nodes,
                "resourceRules": [
                    _resources("", ["nodes", "nodes/status"], cluster=True),
                    _resources("coordination.k8s.io", ["leases"]),
                ],
            },
        ),
        _schema("system-nodes", "system", 500, "ByUser", _everything(nodes)),
        _schema("kube-controller-manager", "workload-high", 800, "ByNamespace", _everything(_users(_MANAGER))),
        _schema("kube-scheduler", "workload-high", 800, "ByNamespace", _everything(_users(_SCHEDULER))),
        _schema("pilothouse-components", "workload-high", 850, "ByUser", _everything(_users(*component_names()))),
        _schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", _everything(_accounts("*"))),
        _schema("service-accounts", "workload-low", 9000, "ByUser", _everything(_groups("system:serviceaccounts"))),
        _schema("global-default", "global-default", 9900, "ByUser", _everything(_groups(*_ANYBODY))),
    ]


def mandatory_patch(current: Obj, wanted: Obj) -> Obj:
    """The merge patch that puts a mandatory object right, empty when it is."""
    patch = field_patch(current, wanted)
    if _said(current) != "true":
        patch["metadata"] = {"annotations": {AUTOUPDATE: "true"}}
    return patch


def suggested_patch(current: Obj, wanted: Obj) -> Obj:
    """As `mandatory_patch`, for an object that its users may take over; one that does not say whose it is has been
    taken over when its spec was ever changed."""
    said = _said(current)
    if said not in ("true", "false"):
        said = "true" if current["metadata"].get("generation") == 1 else "false"
    patch = field_patch(current, wanted) if said == "true" else {}
    if said != _said(current):
        patch["metadata"] = {"annotations": {AUTOUPDATE: said}}
    return patch


def _said(current: Obj) -> str:
    return (current["metadata"].get("annotations") or {}).get(AUTOUPDATE) or ""


def _object(name: str, spec: Obj) -> Obj:
    return {"metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}}, "spec": spec}


def _level(name: str, shares: int, lendable: int, queues: Queues | None) -> Obj:
    """A limited level; without queues a request that finds no seat is turned away."""
    response: Obj = {"type": "Reject"}
    if queues is not None:
        queuing = {"queues": queues.queues, "handSize": queues.hand, "queueLengthLimit": queues.length}
        response = {"type": "Queue", "queuing": queuing}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
    return _object(name, {"type": "Limited", "limited": limited})


def _schema(name: str, level: str, precedence: int, distinguisher: str, rule: Obj) -> Obj:
    spec: Obj = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return _object(name, spec)


def _everything(subjects: list[Obj]) -> Obj:
    """A rule for all that these subjects ask."""
    return {
        "subjects": subjects,
        "resourceRules": [_resources("*", _EVERY, cluster=True)],
        "nonResourceRules": [{"verbs": _EVERY, "nonResourceURLs": _EVERY}],
    }


def _resources(group: str, resources: list[str], *, verbs: list[str] = _EVERY, cluster: bool = False) -> Obj:
    rule: Obj = {"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": _EVERY}
    return {**rule, "clusterScope": True} if cluster else rule


def _users(*names: str) -> list[Obj]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _accounts(*names: str) -> list[Obj]:
    """Service accounts of `kube-system`."""
    return [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}} for name in names]
