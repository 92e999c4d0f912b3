"""What subjects did, as an audit log tells it, and the rights that would have been enough. Pure.

Source of the lines: audit.k8s.io/v1 Event, one a line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pilothouse.guard.access.rights import Asked, Grant, Rights, Subject
from pilothouse.kinds.rbac.role import PolicyRule
from pilothouse.machinery.objects import parse_timestamp

MOST_NAMES: Final = 10
"""A right on more objects than these is one on the whole kind; new objects come, and names are not known before."""
_NAMELESS: Final = frozenset({"create", "list", "watch", "deletecollection"})


class _User(msgspec.Struct):
    username: str = ""


class _Reference(msgspec.Struct, rename="camel"):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    subresource: str = ""


class _Event(msgspec.Struct, rename="camel"):
    verb: str = ""
    stage: str = ""
    request_uri: str = msgspec.field(name="requestURI", default="")
    user: _User = msgspec.field(default_factory=_User)
    impersonated_user: _User | None = None
    object_ref: _Reference | None = None
    request_received_timestamp: str = ""
    annotations: dict[str, str] = {}


_DECODER: Final = msgspec.json.Decoder(_Event)


@dataclass
class Used:
    """What one subject did: each request with the last time, and when it was seen first and last."""

    requests: dict[Asked, str] = field(default_factory=dict)
    first: str = ""
    last: str = ""


@dataclass
class Usage:
    """What a log tells. `start` and `end` are the first and last moments it covers, "" when it is empty."""

    by_user: dict[str, Used] = field(default_factory=dict)
    start: str = ""
    end: str = ""
    unread: int = 0
    """Lines that are no audit events."""


def usage_of(lines: Iterable[bytes], since: dt.datetime | None = None) -> Usage:
    """What allowed requests the lines tell of, from a moment on. Lines that cannot be read are counted."""
    usage = Usage()
    for line in lines:
        try:
            event = _DECODER.decode(line)
            moment = parse_timestamp(event.request_received_timestamp)
        except (msgspec.MsgspecError, ValueError):
            usage.unread += 1
            continue
        if since is not None and moment < since:
            continue
        at = event.request_received_timestamp
        usage.start, usage.end = min(usage.start or at, at), max(usage.end, at)
        if event.annotations.get("authorization.k8s.io/decision", "allow") != "allow" or not event.verb:
            continue
        who = event.impersonated_user or event.user
        used = usage.by_user.setdefault(who.username, Used())
        used.first, used.last = min(used.first or at, at), max(used.last, at)
        asked = _asked(event)
        used.requests[asked] = max(used.requests.get(asked, ""), at)
    return usage


def _asked(event: _Event) -> Asked:
    ref = event.object_ref
    if ref is None:
        return Asked(event.verb, path=event.request_uri.partition("?")[0])
    name = "" if event.verb in _NAMELESS else ref.name
    return Asked(event.verb, ref.api_group, ref.resource, ref.subresource, ref.namespace, name)


@dataclass(frozen=True, slots=True)
class Needed:
    """Rules that would have been enough, in a namespace ("" for everywhere)."""

    namespace: str
    rules: tuple[PolicyRule, ...]


def least(used: Used) -> list[Needed]:
    """The narrowest rules under which every request passes: by namespace, kind and verb, and by name where few were
    touched. Namespaces first come first."""
    kinds: dict[str, dict[tuple[str, str], dict[str, set[str]]]] = {}
    paths: dict[str, set[str]] = {}
    for asked in used.requests:
        if asked.path:
            paths.setdefault(asked.path, set()).add(asked.verb)
            continue
        what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        verbs = kinds.setdefault(asked.namespace, {}).setdefault((asked.group, what), {})
        verbs.setdefault(asked.verb, set()).add(asked.name)
    found = []
    for namespace in sorted(kinds.keys() | ({""} if paths else set())):
        rules = [rule for place in sorted(kinds.get(namespace, {}).items()) for rule in _rules(*place)]
        if not namespace:
            rules += [
                PolicyRule(verbs=sorted(verbs), non_resource_urls=[path]) for path, verbs in sorted(paths.items())
            ]
        found.append(Needed(namespace, tuple(rules)))
    return found


def _rules(place: tuple[str, str], verbs: dict[str, set[str]]) -> Iterator[PolicyRule]:
    """A rule for verbs that are about the same names."""
    group, what = place
    alike: dict[tuple[str, ...], list[str]] = {}
    for verb, touched in sorted(verbs.items()):
        names = () if "" in touched or len(touched) > MOST_NAMES else tuple(sorted(touched))
        alike.setdefault(names, []).append(verb)
    for names, listed in sorted(alike.items()):
        yield PolicyRule(verbs=listed, api_groups=[group], resources=[what], resource_names=list(names))


def replay(needed: Iterable[Needed], requests: Iterable[Asked]) -> list[Asked]:
    """The requests that these rules refuse."""
    who = Subject("User", "replayed")
    grants = [Grant(who, entry.namespace, "RoleBinding", "Role", entry.rules) for entry in needed]
    rights = Rights({who: grants})
    return [asked for asked in requests if rights.allowing(who, (), asked) is None]
