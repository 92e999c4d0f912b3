"""The exceptions that manifests hold: in comments, in annotations, and as Exemption objects. Pure.

    # pilothouse:accept container-privileged reason="reads the host's sensors" owner=plant-team expires=2027-03-31

    metadata:
      annotations:
        accept.pilothouse.io/container-privileged: reason="…" owner=plant-team expires=2027-03-31 containers=reader

A comment is about the object, field or list entry that begins on its line or, if it has a line of its own, on the next.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pilothouse.guard.finding import Comment, Item
from pilothouse.guard.podspec import value_at
from pilothouse.kinds.guard.exemption import DENIED, LONGEST, Exemption
from pilothouse.kinds.guard.finding import GROUP
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.objects import parse_timestamp

PREFIX: Final = "accept.pilothouse.io/"
_FIELDS: Final = ("reason", "owner", "expires", "containers")
_WORD = re.compile(r"""\s*(?:(?P<name>\w+)=(?P<value>"[^"]*"|'[^']*'|[^\s"']+)|(?P<other>\S+))""")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Written:
    """An exception as written, in the item of this number. `field` and `line` are where; `first` and `last` are the
    lines it is about, 0 for the whole object; `wrong` is what keeps it from counting, "" for nothing."""

    item: int
    checks: tuple[str, ...]
    how: str
    """`comment`, `annotation` or `exemption`."""
    line: int
    field: str = ""
    reason: str = ""
    owner: str = ""
    expires: str = ""
    containers: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    wrong: str = ""
    exemption: Exemption | None = None
    """Of an Exemption object, which also says what it means."""


def written(items: Sequence[Item], now: dt.datetime, namespace: str) -> list[Written]:
    """All exceptions of these items; `namespace` is that of Exemptions which name none."""
    return [found for index, item in enumerate(items) for found in _of_item(index, item, now, namespace)]


def ended(expires: str, now: dt.datetime) -> bool:
    """Whether an end that can be read has come; a day counts until it is over."""
    return _end(expires) <= now


def _of_item(index: int, item: Item, now: dt.datetime, namespace: str) -> Iterator[Written]:
    for comment in item.comments:
        yield _of_comment(index, comment, now)
    annotations = value_at(item.tree, "metadata.annotations")
    for key, value in annotations.items() if isinstance(annotations, dict) else ():
        if str(key).startswith(PREFIX):
            yield _of_annotation(index, item, str(key), value, now)
    if item.tree.get("kind") == "Exemption" and str(item.tree["apiVersion"]).startswith(f"{GROUP}/"):
        yield _of_exemption(index, item, now, namespace)


def _of_comment(index: int, comment: Comment, now: dt.datetime) -> Written:
    names, _, rest = comment.text.strip().partition(" ")
    checks = () if "=" in names else tuple(filter(None, names.split(",")))
    said, wrong = _said(rest if checks else comment.text, now)
    if not checks:
        wrong = "it names no check: write its id first"
    if not comment.first:
        wrong = "there is nothing below it: write it above the object or field it is about"
    return Written(
        index, checks, "comment", comment.line, first=comment.first, last=comment.last, wrong=wrong, **_kept(said)
    )


def _of_annotation(index: int, item: Item, key: str, value: Any, now: dt.datetime) -> Written:
    field = f"metadata.annotations[{key}]"
    said, wrong = _said(str(value), now)
    checks = (key.removeprefix(PREFIX),)
    return Written(index, checks, "annotation", item.line_of(field), field, wrong=wrong, **_kept(said))


def _of_exemption(index: int, item: Item, now: dt.datetime, namespace: str) -> Written:
    try:
        exemption: Exemption = from_tree(Exemption, item.tree)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        return Written(index, (), "exemption", item.line_of("spec"), "spec", wrong=f"it cannot be read: {error}")
    exemption.metadata.namespace = exemption.metadata.namespace or namespace
    spec = exemption.spec
    said = {"reason": spec.reason, "owner": spec.owner, "expires": spec.expires}
    wrong = _lacking(said, now) if spec.rules else "it names no rules"
    if exemption.status.approval == DENIED:
        wrong = f"it was denied by {exemption.status.decided_by or 'somebody'}"
    checks = tuple(spec.rules)
    return Written(
        index, checks, "exemption", item.line_of("spec"), "spec", wrong=wrong, exemption=exemption, **_kept(said)
    )


def _kept(said: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: said.get(name, "").strip() for name in ("reason", "owner", "expires")}
    return {**found, "containers": tuple(filter(None, said.get("containers", "").split(",")))}


def _said(text: str, now: dt.datetime) -> tuple[dict[str, str], str]:
    """What `name=value` words say, and what is wrong with them."""
    said: dict[str, str] = {}
    wrong = ""
    for match in _WORD.finditer(text):
        name = match["name"]
        if match["other"]:
            wrong = wrong or f"{match['other']!r} is not understood: write name=value, and put texts in quotes"
        elif name not in _FIELDS:
            wrong = wrong or f"{name} is none of {', '.join(_FIELDS)}"
        elif name in said:
            wrong = wrong or f"{name} is written twice"
        else:
            value = match["value"]
            said[name] = value[1:-1] if value[0] in "\"'" else value
    return said, wrong or _lacking(said, now)


def _lacking(said: Mapping[str, str], now: dt.datetime) -> str:
    lacks = [name for name in ("reason", "owner", "expires") if not said.get(name, "").strip()]
    if lacks:
        return f"it lacks {', '.join(lacks)}"
    try:
        end = _end(said["expires"])
    except ValueError:
        return f"{said['expires']!r} is no day such as 2027-03-31"
    return "it ends more than a year from now" if end > now + LONGEST else ""


def _end(text: str) -> dt.datetime:
    """Raises ValueError."""
    if _DAY.fullmatch(text):
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC) + dt.timedelta(days=1)
    moment = parse_timestamp(text)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    return moment
