"""Scenarios: `NAME.yaml` holds objects, `NAME.nft` what they add to the table (`.nft6`: to that of IPv6).

`GOLDEN=write pytest …` writes those.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.view import from_tree
from pilothouse.network import base
from pilothouse.network.facts import NOTHING, Contribution, NodeFacts
from pilothouse.network.family import batch_for
from pilothouse.network.pods import PodFacts, pod_facts
from pilothouse.network.policy import Plan, plan, plan_rules, pod_rules, understand
from pilothouse.network.rules import host_port_rules, pace_rules, service_rules
from pilothouse.network.table import Desired
from pilothouse.network.views import PodView

HERE = Path(__file__).parent
FACTS = NodeFacts("n1", ("192.168.77.1", "127.0.0.1"), "10.232.0.0/16", "10.97.0.0/16", "10.97.0.10", "east")
IPV6 = NodeFacts("n1", ("fd00:77::1",), "fd00:10:232::/56", "fd00:10:97::/112", "", "east", version=6)
NAMESPACES = {"shop": {"team": "x"}, "ops": {"team": "y"}}


def commands(trees: list[dict[str, Any]], node: NodeFacts = FACTS) -> str:
    """The batch that a table without elements needs for these objects."""
    views: dict[str, list[Any]] = {}
    for tree in trees:
        cls: Any = {
            "Service": Service,
            "EndpointSlice": EndpointSlice,
            "NetworkPolicy": NetworkPolicy,
            "Pod": PodView,
        }[tree["kind"]]
        tree["metadata"].setdefault("namespace", "shop")
        views.setdefault(tree["kind"], []).append(from_tree(cls, tree))
    desired = Desired()
    for service in views.get("Service", ()):
        desired.put(f"service/{service.key}", service_rules(service, views.get("EndpointSlice", []), node))
    policies = plan(understand(policy) for policy in views.get("NetworkPolicy", ()))
    desired.put("policies", plan_rules(policies))
    for pod in views.get("Pod", ()):
        addresses = [pod.status.pod_ip, *(entry.ip for entry in pod.status.pod_ips)]
        facts = pod_facts(pod, next(filter(node.holds, addresses), ""), node.node_name)
        rules = NOTHING if facts is None else _rules(facts, policies, node)
        desired.put(f"pod/{pod.key}", rules)
    change = desired.change("pilothouse")
    return batch_for(node.version, change.before + change.commands, "pilothouse")


def _rules(pod: PodFacts, policies: Plan, node: NodeFacts) -> Contribution:
    return host_port_rules(pod, node) | pace_rules(pod) | pod_rules(policies, pod, NAMESPACES)


def check(path: Path, text: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("scenario", sorted(HERE.glob("*.yaml")), ids=lambda path: path.stem)
def test_scenario(scenario: Path) -> None:
    check(scenario.with_suffix(".nft"), commands(list(yaml.safe_load_all(scenario.read_text()))))


def test_fixed_part() -> None:
    check(HERE / "fixed.nft", base.commands("pilothouse", FACTS))
    check(HERE / "fixed.nft6", batch_for(6, base.commands("pilothouse", IPV6), "pilothouse"))


@pytest.mark.parametrize("scenario", sorted(HERE.glob("dual_*.yaml")), ids=lambda path: path.stem)
def test_scenario_of_two_families(scenario: Path) -> None:
    check(scenario.with_suffix(".nft6"), commands(list(yaml.safe_load_all(scenario.read_text())), IPV6))
