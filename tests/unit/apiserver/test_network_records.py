"""One list of flows from what several nodes remember."""

from __future__ import annotations

from typing import Any

from pilothouse.apiserver.network_records.merge import addresses, counts, items, merged


def pod(name: str, address: str, made: str = "2026-01-01T00:00:00Z", **status: Any) -> dict[str, Any]:
    meta = {
        "name": name,
        "namespace": "shop",
        "labels": {"app": name, "pod-template-hash": "1"},
        "creationTimestamp": made,
    }
    return {"metadata": meta, "spec": {}, "status": {"podIP": address, **status}}


def flow(source: dict[str, Any], destination: dict[str, Any], first: float, last: float, **more: Any) -> dict[str, Any]:
    def name(end: dict[str, Any]) -> str:
        return end.get("address") or f"{end['namespace']}/{end['labels']['app']}"

    return {
        "from": source,
        "to": destination,
        "protocol": "tcp",
        "port": 80,
        "source": name(source),
        "destination": name(destination),
        "first": first,
        "last": last,
        "count": 1,
        **more,
    }


WEB = {"namespace": "shop", "labels": {"app": "web"}}
DB = {"namespace": "shop", "labels": {"app": "db"}}
T = 1_800_000_000.0


def test_both_ends_of_a_flow_between_nodes_are_one() -> None:
    records = {
        "n1": {"flows": [flow(WEB, {"address": "10.0.1.2"}, T, T + 60)]},
        "n2": {"flows": [flow({"address": "10.0.0.1"}, DB, T + 1, T + 30)]},
    }
    pods = addresses([pod("web", "10.0.0.1"), pod("db", "10.0.1.2")])
    (found,) = merged("flows", records, pods, "shop")
    assert (found["from"], found["to"]) == (WEB, DB)
    assert (found["first"], found["last"], found["nodes"]) == (T, T + 60, ["n1", "n2"])
    assert (found["source"], found["destination"]) == ("shop/web", "shop/db")
    assert merged("flows", records, pods, "other") == []
    assert items("flows", [found])[0]["first"] == "2027-01-15T08:00:00Z"


def test_an_address_given_to_a_younger_pod_is_not_named_after_it() -> None:
    records = {"n1": {"flows": [flow(WEB, {"address": "10.0.1.2"}, T, T)]}}
    young = addresses([pod("late", "10.0.1.2", "2027-02-01T00:00:00Z")])
    assert merged("flows", records, young, "")[0]["to"] == {"address": "10.0.1.2"}
    gone = addresses([pod("done", "10.0.1.2", phase="Succeeded")])
    assert gone == {}


def test_denials_keep_direction_and_policies() -> None:
    records = {
        "n1": {"denied": [flow(WEB, DB, T, T, direction="egress", policies=["shop/a"])], "policies": {"shop/a": 2}},
        "n2": {
            "denied": [flow(WEB, DB, T, T + 1, direction="ingress", policies=["shop/b"])],
            "policies": {"shop/a": 1, "ops/c": 5},
        },
    }
    assert [item["direction"] for item in merged("denied", records, {}, "")] == ["ingress", "egress"]
    assert counts(records, "shop") == {"shop/a": 3}
