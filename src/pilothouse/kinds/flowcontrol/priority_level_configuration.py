"""PriorityLevelConfiguration.

Source of the rules and their wording: upstream's flowcontrol validation.
"""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource

_EXEMPT = "exempt"
_MOST_QUEUES = 10_000_000
_MOST_BITS = 60
_QUEUES = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


class PriorityLevelConfiguration(Object):
    resource: ClassVar[Resource] = Resource(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", False
    )


def _defaults(obj: Obj) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    if isinstance(spec.get("exempt"), dict):
        spec["exempt"].setdefault("nominalConcurrencyShares", 0)
        spec["exempt"].setdefault("lendablePercent", 0)
    limited = spec.get("limited")
    if not isinstance(limited, dict):
        return
    limited.setdefault("nominalConcurrencyShares", 30)
    limited.setdefault("lendablePercent", 0)
    queuing = section(limited, "limitResponse").get("queuing")
    if isinstance(queuing, dict):
        for key, value in _QUEUES.items():
            queuing[key] = queuing.get(key) or value


_TYPES = ("Exempt", "Limited")
_RESPONSES = ("Queue", "Reject")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec, name = section(obj, "spec"), (obj.get("metadata") or {}).get("name")
    kind = spec.get("type")
    if (name == _EXEMPT) != (kind == "Exempt"):
        problems.invalid("spec.type", kind or "", "must be 'Exempt' if and only if `name` is 'exempt'")
    if kind not in _TYPES:
        problems.unsupported("spec.type", kind or "", _TYPES)
    if kind == "Limited":
        if "exempt" in spec:
            problems.forbidden("spec.exempt", "must be nil if the type is Limited")
        if "limited" not in spec:
            problems.required("spec.limited", "must not be empty when type is Limited")
        else:
            _check_shares(spec["limited"], "spec.limited", problems)
            _check_response(section(spec["limited"], "limitResponse"), "spec.limited.limitResponse", problems)
    elif kind == "Exempt":
        if "limited" in spec:
            problems.forbidden("spec.limited", "must be nil if the type is not Limited")
        _check_shares(section(spec, "exempt"), "spec.exempt", problems)


def _check_shares(limited: Obj, path: str, problems: Problems) -> None:
    problems.not_negative(f"{path}.nominalConcurrencyShares", limited.get("nominalConcurrencyShares"))
    problems.within(f"{path}.lendablePercent", limited.get("lendablePercent"), 0, 100)
    problems.not_negative(f"{path}.borrowingLimitPercent", limited.get("borrowingLimitPercent"))


def _check_response(response: Obj, path: str, problems: Problems) -> None:
    kind = response.get("type")
    if kind not in _RESPONSES:
        problems.unsupported(f"{path}.type", kind or "", _RESPONSES)
    if kind == "Reject" and "queuing" in response:
        problems.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    if kind == "Queue":
        if "queuing" not in response:
            problems.required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited")
        else:
            _check_queuing(response["queuing"], f"{path}.queuing", problems)


def _check_queuing(queuing: Obj, path: str, problems: Problems) -> None:
    queues, hand, length = (queuing.get(key) or 0 for key in _QUEUES)
    if length <= 0:
        problems.invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if not 0 < queues <= _MOST_QUEUES:
        detail = "must be positive" if queues <= 0 else f"must not be greater than {_MOST_QUEUES}"
        problems.invalid(f"{path}.queues", queues, detail)
    elif hand <= 0:
        problems.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        problems.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif (bits := _bits(queues, hand)) > _MOST_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_MOST_BITS}"
        )
        problems.invalid(f"{path}.handSize", hand, f"{detail}: {bits}")


def _bits(queues: int, hand: int) -> int:
    """Of the number that a hand is dealt by."""
    hands = 1
    for dealt in range(min(hand, _MOST_BITS + 1)):
        hands *= queues - dealt
    return (hands - 1).bit_length()


_QUEUING = ("spec", "limited", "limitResponse", "queuing")


KIND = Kind(
    view=PriorityLevelConfiguration,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Type", field("spec", "type"), "Limited or Exempt."),
        Column(
            "NominalConcurrencyShares",
            field("spec", "limited", "nominalConcurrencyShares", default=NONE),
            "Its share of the server's requests.",
        ),
        Column("Queues", field(*_QUEUING, "queues", default=NONE), "Queues of waiting requests."),
        Column("HandSize", field(*_QUEUING, "handSize", default=NONE), "Queues a flow may use."),
        Column("QueueLengthLimit", field(*_QUEUING, "queueLengthLimit", default=NONE), "Requests that may wait."),
        AGE,
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
