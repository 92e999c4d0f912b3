"""Exemption: an accepted deviation from a rule, asked for by one and granted by another, until a day.

An exemption is in force once `status.approval` says so and until `spec.expires`. Whoever changes what it says asks
anew.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column, field, human_duration, now
from pilothouse.kinds.equality import same
from pilothouse.kinds.guard.finding import GROUP, VERSION
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource, parse_timestamp

LONGEST = dt.timedelta(days=366)
APPROVED, DENIED = "Approved", "Denied"


class ExemptionSpec(View):
    """`rules` are rule ids (`*` for all); of objects it means those selected, of these kinds and names (patterns)."""

    rules: list[str] = []
    selector: LabelSelector | None = None
    kinds: list[str] = []
    names: list[str] = []
    reason: str = ""
    owner: str = ""
    expires: str = ""
    requested_by: str = ""


class ExemptionStatus(View):
    """`approval` is "", Approved or Denied; `used` is the number of findings it accepts now."""

    approval: str = ""
    decided_by: str = ""
    decided_at: str = ""
    used: int = 0
    last_used: str = ""


class Exemption(Object):
    resource: ClassVar[Resource] = Resource(GROUP, VERSION, "Exemption", "exemptions", True)

    spec: ExemptionSpec = msgspec.field(default_factory=ExemptionSpec)
    status: ExemptionStatus = msgspec.field(default_factory=ExemptionStatus)


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if not spec.get("rules"):
        problems.required("spec.rules", "name the rules it is about, such as container-privileged")
    for name, why in (("reason", "say why it is accepted"), ("owner", "say who answers for it")):
        if not str(spec.get(name) or "").strip():
            problems.required(f"spec.{name}", why)
    if spec.get("selector") is not None:
        check_label_selector(spec["selector"], "spec.selector", problems)
    unchanged = old is not None and section(old, "spec").get("expires") == spec.get("expires")
    _check_expiry(spec.get("expires") or "", unchanged, problems)
    if approval := section(obj, "status").get("approval"):
        problems.one_of("status.approval", approval, (APPROVED, DENIED))


def _check_expiry(text: str, unchanged: bool, problems: Problems) -> None:
    if not text:
        return problems.required("spec.expires", "say when it ends, such as 2027-03-31T00:00:00Z")
    try:
        moment = parse_timestamp(text)
    except ValueError:
        return problems.invalid("spec.expires", text, "must be a time such as 2027-03-31T00:00:00Z")
    if moment.tzinfo is None:
        return problems.invalid("spec.expires", text, "must have a time zone: end it with Z")
    if not unchanged and not now() < moment <= now() + LONGEST:
        problems.invalid("spec.expires", text, "must be in the future, and within a year")
    return None


def _asked_anew(new: Obj, old: Obj) -> None:
    """What was decided of another wording is not decided of this one."""
    if not same(new.get("spec"), old.get("spec")):
        status = dict(section(new, "status"))
        for name in ("approval", "decidedBy", "decidedAt"):
            status.pop(name, None)
        new["status"] = status


def state_of(obj: Obj) -> str:
    """Pending, Active, Denied or Expired."""
    expires, approval = section(obj, "spec").get("expires") or "", section(obj, "status").get("approval")
    try:
        if expires and parse_timestamp(expires) <= now():
            return "Expired"
    except (ValueError, TypeError):
        return "Expired"
    return "Active" if approval == APPROVED else "Denied" if approval == DENIED else "Pending"


def _left(obj: Obj) -> Any:
    try:
        return human_duration((parse_timestamp(section(obj, "spec")["expires"]) - now()).total_seconds())
    except (KeyError, ValueError, TypeError):
        return "<unknown>"


KIND = Kind(
    view=Exemption,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Rules", lambda obj: ",".join(section(obj, "spec").get("rules") or ()), "The rules it is about."),
        Column("State", state_of, "Pending, Active, Denied or Expired."),
        Column("Used", lambda obj: section(obj, "status").get("used") or 0, "Findings it accepts now.", "integer"),
        Column("Ends In", _left, "Until it expires."),
        Column("Owner", field("spec", "owner"), "Who answers for it."),
        Column("Requested By", field("spec", "requestedBy"), "Who asked.", priority=1),
        Column("Decided By", field("status", "decidedBy"), "Who granted or denied it.", priority=1),
        Column("Reason", field("spec", "reason"), "Why it is accepted.", priority=1),
        AGE,
    ),
    rules=_rules,
    generation_fields=("spec",),
    on_update=_asked_anew,
)
