"""The record of one request, and the line it becomes. Pure.

Source: `audit.k8s.io/v1` Event. Made into text in the writer's thread: the event loop only takes note.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from pilothouse.apiserver.audit.policy import Level
from pilothouse.apiserver.body import decode_body
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import User
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj

_LEVELS: Final = ("None", "Metadata", "Request", "RequestResponse")
_LARGEST: Final = 256 * 1024
"""Bytes of a body that is recorded; of a larger one it is said that it was left out."""


class Note(NamedTuple):
    """What the event loop knows of a request in one of its stages. Bodies are empty when they are not to be recorded,
    but for the status of a refusal and the beginning of what was created; `code` is 0 before there is an answer;
    `in_pieces` says that the answer was sent in pieces, which are not kept. Times are seconds since 1970."""

    id: str
    level: Level
    stage: str
    route: Route
    uri: str
    user: User | None
    impersonated: User | None
    source: str
    user_agent: str
    code: int
    allowed: bool | None
    received: float
    ended: float
    request: bytes = b""
    content_type: str = ""
    response: bytes = b""
    in_pieces: bool = False
    omit_managed_fields: bool = False
    annotations: Mapping[str, str] = MappingProxyType({})
    """What admission has to say."""

    @property
    def size(self) -> int:
        told = sum(len(key) + len(text) for key, text in self.annotations.items())
        return len(self.request) + len(self.response) + len(self.uri) + told + 200


def line(note: Note) -> bytes:
    """The note as one line of JSON."""
    route = note.route
    event: Obj = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": _LEVELS[note.level],
        "auditID": note.id,
        "stage": note.stage,
        "requestURI": note.uri,
        "verb": route.verb,
        "user": _user(note.user),
    }
    if note.impersonated is not None:
        event["impersonatedUser"] = _user(note.impersonated)
    if note.source:
        event["sourceIPs"] = [note.source]
    if note.user_agent:
        event["userAgent"] = note.user_agent
    if route.is_resource:
        event["objectRef"] = _reference(note)
    if note.code:
        event["responseStatus"] = _status(note)
    truncated = _add_bodies(event, note)
    event["requestReceivedTimestamp"] = _time(note.received)
    event["stageTimestamp"] = _time(note.ended)
    annotations = {**({} if note.allowed is None else _decision(note.allowed)), **note.annotations}
    if truncated:
        annotations["audit.k8s.io/truncated"] = "true"
    if annotations:
        event["annotations"] = annotations
    return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)


def _decision(allowed: bool) -> dict[str, str]:
    return {"authorization.k8s.io/decision": "allow" if allowed else "forbid"}


def _user(user: User | None) -> Obj:
    if user is None:
        return {}
    found = _named(user.name, user.uid, user.groups)
    return {**found, "extra": {key: list(values) for key, values in user.extra.items()}} if user.extra else found


@lru_cache(maxsize=256)
def _named(name: str, uid: str, groups: tuple[str, ...]) -> Obj:
    found: Obj = {"username": name}
    if uid:
        found["uid"] = uid
    if groups:
        found["groups"] = list(groups)
    return found


def _reference(note: Note) -> Obj:
    route = note.route
    found = {
        "resource": route.resource,
        "namespace": route.namespace,
        "name": route.name,
        "apiGroup": route.group,
        "apiVersion": route.version,
        "subresource": route.subresource,
    }
    if route.verb == "create" and not route.name and note.code == 201:
        meta = _tree(note.response).get("metadata")
        if isinstance(meta, dict):
            found |= {"name": str(meta.get("name", "")), "uid": str(meta.get("uid", ""))}
    return {key: value for key, value in found.items() if value}


def _status(note: Note) -> Obj:
    status: Obj = {"metadata": {}, "code": note.code}
    if note.code >= 400:
        tree = _tree(note.response)
        status |= {key: tree[key] for key in ("status", "message", "reason", "details") if key in tree}
    return status


def _add_bodies(event: Obj, note: Note) -> bool:
    """Adds what the level asks for; whether something was too large."""
    truncated = note.in_pieces and note.level >= Level.REQUEST_RESPONSE
    for wanted, key, body, content_type in (
        (Level.REQUEST, "requestObject", note.request, note.content_type),
        (Level.REQUEST_RESPONSE, "responseObject", note.response, ""),
    ):
        if note.level < wanted or not body or (key == "responseObject" and note.code >= 400):
            continue
        if len(body) > _LARGEST:
            truncated = True
            continue
        tree = _readable(body, content_type)
        if note.omit_managed_fields:
            _without_managed_fields(tree)
        if tree:
            event[key] = tree
    return truncated


def _without_managed_fields(tree: Any) -> None:
    """Drops them from an object, or from those of a list, in place."""
    if not isinstance(tree, dict):
        return
    items = tree.get("items")
    for obj in (tree, *(items if isinstance(items, list) else ())):
        meta = obj.get("metadata") if isinstance(obj, dict) else None
        if isinstance(meta, dict):
            meta.pop("managedFields", None)


def _readable(body: bytes, content_type: str) -> Any:
    """What a body says, whatever it was sent as; nothing when it cannot be read."""
    kind = content_type.partition(";")[0].strip()
    if kind in ("application/vnd.kubernetes.protobuf", "application/yaml", "application/apply-patch+yaml"):
        try:
            return decode_body(body, kind.replace("apply-patch+", ""), duplicates=False).value
        except ApiError:
            return {}
    return _tree(body, anything=True)


def _tree(body: bytes, *, anything: bool = False) -> Any:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return tree if anything or isinstance(tree, dict) else {}


def _time(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
