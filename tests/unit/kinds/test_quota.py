"""What objects use of quotas, and the rules of ResourceQuota and LimitRange."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.kinds.core import limit_range, resource_quota
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.account import Account, Quota
from pilothouse.kinds.core.quota.amounts import Amounts
from pilothouse.kinds.core.quota.pod_amounts import pod_limits, pod_requests
from pilothouse.kinds.core.quota.usage import CLAIMS, PODS, SERVICES, Item, Place, counted_in, item_of
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.objects import Obj

from .trees import defaulted, faults


def pod(*containers: Obj, init: tuple[Obj, ...] = (), **spec: Any) -> Pod:
    tree = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers, "initContainers": init, **spec}}
    return msgspec.convert(tree, Pod)


def needs(cpu: str, limit: str = "", **fields: Any) -> Obj:
    resources = {"requests": {"cpu": cpu}, **({"limits": {"cpu": limit}} if limit else {})}
    return {"name": "c", "resources": resources, **fields}


def told(found: Amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in found.items()}


def quota(hard: dict[str, str], name: str = "q", **spec: Any) -> Quota:
    tree = {"metadata": {"name": name, "namespace": "shop"}, "spec": {"hard": hard, **spec}}
    return Quota(msgspec.convert(tree, ResourceQuota))


@pytest.mark.parametrize(
    ("made", "cpu"),
    [
        (pod(needs("1"), needs("500m")), "1500m"),
        (pod(needs("1"), init=(needs("3"), needs("2"))), "3"),
        (pod(needs("1"), init=(needs("1", restartPolicy="Always"), needs("3"))), "4"),
        (pod(needs("2"), init=(needs("3"), needs("2", restartPolicy="Always"))), "4"),
        (pod(needs("1"), overhead={"cpu": "250m"}), "1250m"),
    ],
)
def test_a_pod_requests_what_it_needs_at_its_most_demanding_moment(made: Pod, cpu: str) -> None:
    assert told(pod_requests(made)) == {"cpu": cpu}


def test_overhead_raises_only_limits_that_there_are() -> None:
    made = pod(needs("1", "2"), overhead={"cpu": "250m", "memory": "64Mi"})
    assert told(pod_limits(made)) == {"cpu": "2250m"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pods", PODS),
        ("requests.cpu", PODS),
        ("requests.nvidia.com/gpu", PODS),
        ("hugepages-2Mi", PODS),
        ("services", SERVICES),
        ("services.nodeports", SERVICES),
        ("requests.storage", CLAIMS),
        ("gold.storageclass.storage.k8s.io/requests.storage", CLAIMS),
        ("count/deployments.apps", ("apps", "deployments")),
        ("count/configmaps", ("", "configmaps")),
        ("configmaps", ("", "configmaps")),
    ],
)
def test_each_name_of_a_quota_is_about_one_kind(name: str, place: Place) -> None:
    assert counted_in(name) == place


def test_what_a_pod_uses() -> None:
    made = pod(needs("1", "2"))
    found = told(item_of(PODS, made).usage)
    assert found == {"pods": "1", "count/pods": "1", "cpu": "1", "requests.cpu": "1", "limits.cpu": "2"}
    ended = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, phase="Failed"))
    assert told(item_of(PODS, ended).usage) == {"count/pods": "1"}


def test_what_a_service_and_a_claim_use() -> None:
    ports = [{"port": 80}, {"port": 81}]
    balanced = msgspec.convert({"spec": {"type": "LoadBalancer", "ports": ports}}, Service)
    assert told(item_of(SERVICES, balanced).usage) == {
        "services": "1",
        "count/services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}}
    assert told(item_of(CLAIMS, msgspec.convert({"spec": spec}, PersistentVolumeClaim)).usage) == {
        "persistentvolumeclaims": "1",
        "count/persistentvolumeclaims": "1",
        "requests.storage": "2Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "2Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    }


_pods = st.builds(
    lambda cpu, deadline: item_of(PODS, pod(*([needs(cpu)] if cpu else []), activeDeadlineSeconds=deadline)),
    st.sampled_from(["", "100m", "1", "1500m"]),
    st.none() | st.just(5),
)
_steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | _pods), max_size=20)


def _quotas() -> list[Quota]:
    hard = {"pods": "3", "requests.cpu": "2"}
    return [
        quota(hard, "all"),
        quota(hard, "ends", scopes=["Terminating"]),
        quota({"pods": "1"}, "b", scopes=["BestEffort"]),
    ]


@given(_steps)
def test_an_account_kept_up_to_date_is_one_counted_afresh(steps: list[tuple[str, Item | None]]) -> None:
    kept, last = Account(_quotas()), {}
    for name, item in steps:
        item = None if item is None else item._replace(uid=f"uid-{name}")
        kept.put(PODS, name, item)
        last[name] = item
    fresh = Account(_quotas())
    for name, item in last.items():
        fresh.put(PODS, name, item)
    for name in kept.quotas:
        assert {key: amount.value for key, amount in kept.used(name).items()} == {
            key: amount.value for key, amount in fresh.used(name).items()
        }


def quota_tree(hard: Obj, **spec: Any) -> Obj:
    return {"metadata": {"name": "q", "namespace": "shop"}, "spec": {"hard": hard, **spec}}


@pytest.mark.parametrize(
    ("tree", "field", "why"),
    [
        (quota_tree({"bananas": "1"}), "spec.hard[bananas]", "must be a standard resource for quotas"),
        (quota_tree({"pods": "1500m"}), "spec.hard[pods]", "must be an integer"),
        (quota_tree({"cpu": "-1"}), "spec.hard[cpu]", "must be greater than or equal to 0"),
        (quota_tree({"pods": "1"}, scopes=["Sunny"]), "spec.scopes", "unsupported scope"),
        (quota_tree({"cpu": "1"}, scopes=["BestEffort"]), "spec.scopes", "unsupported scope applied to resource"),
        (quota_tree({"pods": "1"}, scopes=["BestEffort", "NotBestEffort"]), "spec.scopes", "conflicting scopes"),
        (
            quota_tree(
                {"pods": "1"}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}
            ),
            "spec.scopeSelector.matchExpressions.values",
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ),
    ],
)
def test_a_quota_that_is_none_is_refused(tree: Obj, field: str, why: str) -> None:
    (found,) = faults(resource_quota.KIND, tree)
    assert found.startswith(f"{field}: ")
    assert found.endswith(why)


def test_a_quotas_scopes_are_fixed() -> None:
    old = defaulted(resource_quota.KIND, quota_tree({"pods": "1"}))
    new = defaulted(resource_quota.KIND, quota_tree({"pods": "1"}, scopes=["BestEffort"]))
    assert [cause.field for cause in resource_quota.KIND.validate(new, old)] == ["spec.scopes"]


def range_tree(**item: Any) -> Obj:
    return {"metadata": {"name": "r", "namespace": "shop"}, "spec": {"limits": [item]}}


def test_a_limit_ranges_defaults_follow_from_its_bounds() -> None:
    tree = defaulted(limit_range.KIND, range_tree(type="Container", max={"cpu": "2"}, min={"memory": "64Mi"}))
    (item,) = tree["spec"]["limits"]
    assert item["default"] == {"cpu": "2"}
    assert item["defaultRequest"] == {"cpu": "2", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("tree", "field", "why"),
    [
        (range_tree(type="Cat"), "spec.limits[0].type", "must be a standard limit type or fully qualified"),
        (
            range_tree(type="Pod", default={"cpu": "1"}),
            "spec.limits[0].default",
            "may not be specified when `type` is 'Pod'",
        ),
        (
            range_tree(type="PersistentVolumeClaim"),
            "spec.limits[0].limits",
            "either minimum or maximum storage value is required, but neither was provided",
        ),
        (
            range_tree(type="Pod", min={"cpu": "2"}, max={"cpu": "1"}),
            "spec.limits[0].min[cpu]",
            "min value 2 is greater than max value 1",
        ),
        (
            range_tree(type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "2"}),
            "spec.limits[0].defaultRequest[cpu]",
            "default request value 2 is greater than default limit value 1",
        ),
        (
            range_tree(type="Pod", maxLimitRequestRatio={"cpu": "500m"}),
            "spec.limits[0].maxLimitRequestRatio[cpu]",
            "ratio 500m is less than 1",
        ),
        (
            range_tree(
                type="Container", max={"bananas": "1"}, default={"bananas": "1"}, defaultRequest={"bananas": "1"}
            ),
            "spec.limits[0].max[bananas]",
            "must be a standard resource for containers",
        ),
    ],
)
def test_a_limit_range_that_is_none_is_refused(tree: Obj, field: str, why: str) -> None:
    found = faults(limit_range.KIND, tree)[0]
    assert found.startswith(f"{field}: ")
    assert found.endswith(why)
