"""What is written into the status of Gateway API objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pilothouse.ingress.gateway.plan import CONTROLLER, ListenerPlan, Parent, Verdict
from pilothouse.ingress.gateway.views import GROUP, Gateway, GatewayClass, HTTPRoute
from pilothouse.kinds.view import Condition, to_tree
from pilothouse.machinery.objects import Obj, timestamp

ACCEPTED = {"Accepted": Verdict(True, "Accepted")}


def class_status(found: GatewayClass) -> Obj | None:
    """The status of a class served here; None if it says so already."""
    wanted = _conditions(found.status.conditions, ACCEPTED, found.metadata.generation)
    return {"conditions": wanted} if wanted != _trees(found.status.conditions) else None


def gateway_status(gateway: Gateway, plans: Sequence[ListenerPlan], address: str, failure: str) -> Obj | None:
    """The status of a Gateway with these listeners; `failure` is why nothing is served. None: it says so already."""
    generation = gateway.metadata.generation
    present = {listener.name: listener.conditions for listener in gateway.status.listeners}
    served = [plan for plan in plans if plan.serves]
    if failure or not served:
        programmed = Verdict(False, "Invalid" if not served else "Pending", failure or "no listener can be served")
    else:
        programmed = Verdict(True, "Programmed")
    refused = [plan.listener.name for plan in plans if not plan.serves]
    accepted = Verdict(True, "ListenersNotValid" if refused else "Accepted", ", ".join(refused))
    if gateway.spec.addresses and any(entry.value != address for entry in gateway.spec.addresses):
        accepted = Verdict(False, "UnsupportedAddress", f"the only address here is {address}")
    wanted: Obj = {
        "addresses": [{"type": "IPAddress", "value": address}] if programmed.status else [],
        "conditions": _conditions(
            gateway.status.conditions, {"Accepted": accepted, "Programmed": programmed}, generation
        ),
        "listeners": [
            {
                "name": plan.listener.name,
                "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
                "attachedRoutes": plan.attached,
                "conditions": _conditions(
                    present.get(plan.listener.name, []),
                    {**plan.conditions, "Programmed": _programmed(plan, programmed)},
                    generation,
                ),
            }
            for plan in plans
        ],
    }
    shown = {
        "addresses": [to_tree(entry) | {"type": entry.type} for entry in gateway.status.addresses],
        "conditions": _trees(gateway.status.conditions),
        "listeners": [(listener.name, _trees(listener.conditions)) for listener in gateway.status.listeners],
    }
    same = shown == {**wanted, "listeners": [(entry["name"], entry["conditions"]) for entry in wanted["listeners"]]}
    return None if same and not _attached_changed(gateway, plans) else wanted


def route_status(route: HTTPRoute, parents: Sequence[Parent]) -> Obj | None:
    """The status of a route that has these parents here; others' parents stay. None: it says so already."""
    generation = route.metadata.generation
    foreign = [to_tree(found) for found in route.status.parents if found.controller_name != CONTROLLER]
    ours = [found for found in route.status.parents if found.controller_name == CONTROLLER]
    wanted = []
    for parent in parents:
        before = next((found.conditions for found in ours if found.parent_ref == parent.reference), [])
        conditions = _conditions(before, parent.conditions, generation)
        reference = to_tree(parent.reference) | {"group": GROUP, "kind": "Gateway"}
        wanted.append({"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions})
    shown = [(found.parent_ref, _trees(found.conditions)) for found in ours]
    if shown == [(parent.reference, entry["conditions"]) for parent, entry in zip(parents, wanted)]:
        return None
    return {"parents": [*foreign, *wanted]}


def _attached_changed(gateway: Gateway, plans: Sequence[ListenerPlan]) -> bool:
    return [entry.attached_routes for entry in gateway.status.listeners] != [plan.attached for plan in plans]


def _programmed(plan: ListenerPlan, whole: Verdict) -> Verdict:
    return whole if plan.serves else Verdict(False, "Invalid")


def _conditions(present: Iterable[Condition], wanted: Mapping[str, Verdict], generation: int) -> list[Obj]:
    """The conditions as they are written; the time of the last transition stays while the status does."""
    before = {condition.type: condition for condition in present}
    result = []
    for kind, verdict in wanted.items():
        status = "True" if verdict.status else "False"
        old = before.get(kind)
        since = old.last_transition_time if old is not None and old.status == status else None
        result.append(
            {
                "type": kind,
                "status": status,
                "reason": verdict.reason,
                "message": verdict.message,
                "observedGeneration": generation,
                "lastTransitionTime": since or timestamp(),
            }
        )
    return result


def _trees(conditions: Iterable[Condition]) -> list[Obj]:
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": condition.observed_generation,
            "lastTransitionTime": condition.last_transition_time,
        }
        for condition in conditions
    ]
