"""What a pod asks for and no cluster could give: told beside the reasons, which speak of the nodes there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pilothouse.kinds.core.pod import NodeSelectorRequirement, NodeSelectorTerm
from pilothouse.scheduler.pod_info import PodInfo


def contradiction(pod: PodInfo) -> str:
    """A sentence, "" when the pod does not contradict itself."""
    key = _of_node_affinity(pod)
    if key is not None:
        return f"What the pod asks of the node's {key} contradicts itself: no node can ever do."
    if set(pod.affinity) & set(pod.anti_affinity):
        return "The pod wants to be near and away from the same pods: once one of them runs, no node will do."
    return ""


def _of_node_affinity(pod: PodInfo) -> str | None:
    """The label of which no value would do, in every alternative (that of the first one)."""
    spec = pod.pod.spec
    selected = [NodeSelectorRequirement(key=k, operator="In", values=[v]) for k, v in spec.node_selector.items()]
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    terms = required.node_selector_terms if required is not None else [NodeSelectorTerm()]
    found = [_impossible([*selected, *term.match_expressions, *term.match_fields]) for term in terms]
    return found[0] if found and all(found) else None


def _impossible(requirements: Sequence[NodeSelectorRequirement]) -> str | None:
    """The first key of which no value, and not its absence either, meets all requirements."""
    for key in dict.fromkeys(requirement.key for requirement in requirements):
        if not _possible([requirement for requirement in requirements if requirement.key == key]):
            return key
    return None


def _possible(requirements: Sequence[NodeSelectorRequirement]) -> bool:
    """Whether some value of one key, or its absence, meets them."""
    if all(requirement.operator in ("NotIn", "DoesNotExist") for requirement in requirements):
        return True
    if any(requirement.operator == "DoesNotExist" for requirement in requirements):
        return False
    ins = [set(requirement.values) for requirement in requirements if requirement.operator == "In"]
    try:
        above = max(_numbers(requirements, "Gt"), default=None)
        below = min(_numbers(requirements, "Lt"), default=None)
    except (ValueError, IndexError):
        return False  # What is compared with no number never holds.
    if not ins:
        return above is None or below is None or above + 1 < below
    excluded = {value for r in requirements if r.operator == "NotIn" for value in r.values}
    return any(_between(value, above, below) for value in set.intersection(*ins) - excluded)


def _numbers(requirements: Iterable[NodeSelectorRequirement], operator: str) -> list[int]:
    return [int(requirement.values[0]) for requirement in requirements if requirement.operator == operator]


def _between(value: str, above: int | None, below: int | None) -> bool:
    if above is None and below is None:
        return True
    try:
        number = int(value)
    except ValueError:
        return False
    return (above is None or number > above) and (below is None or number < below)
