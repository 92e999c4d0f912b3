"""Whatever is asked, the answer is no 500, and the server goes on.

Requests are made from valid objects of every kind with parts of them exchanged, mostly for values of the same type, so
that they get past the schema and to the rules, defaults, columns and patches behind it.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest import kind_of, objects

from pilothouse.apiserver.server import ApiServer
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ADMIN, ControlPlane, admitting

NS = "shop"
OBJECTS = [(kind_of(tree), tree) for tree in objects(NS)]

_texts = st.one_of(
    st.sampled_from(
        [
            "",
            "-",
            "a/b",
            "500m",
            "1Gi",
            "1e400",
            "-1",
            "0",
            "*",
            "a" * 300,
            "10.0.0.1",
            "::1",
            "10.0.0.0/8",
            "x=y",
            "2026-03-01T12:00:00Z",
            "9999-99-99T99:99:99Z",
            "* * * * *",
            "0 0 31 2 *",
            "true",
            "v1",
            "{}",
            "[",
            "\u2028",
            "matrix",
            "In",
            "Exists",
            "Always",
            "TCP",
            "NodePort",
            "None",
            "50%",
            "101%",
            "$(X)",
            "..",
            "/",
            "\x00",
            "ß",
        ]
    ),
    st.text(max_size=20),
)
_numbers = st.one_of(st.integers(-2, 70_000), st.sampled_from([2**31, 2**31 - 1, -(2**31), 2**63, 2**63 - 1, -(2**63)]))
_scalars = st.one_of(st.none(), st.booleans(), _numbers, st.floats(allow_nan=False, allow_infinity=False), _texts)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3), max_leaves=6
)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a tree."""
    found = [at] if at else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += _places(value, (*at, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            found += _places(value, (*at, index))
    return found


def _alike(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same type."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return _numbers
    if isinstance(value, str):
        return _texts
    if isinstance(value, list):
        return st.just([]) | st.just(value * 2) | st.lists(st.sampled_from(value) if value else _values, max_size=3)
    if isinstance(value, dict):
        inner = st.sampled_from(list(value.values())) if value else _values
        return st.just({}) | st.dictionaries(_texts, inner, max_size=3)
    return _values


@st.composite
def _changed(draw: st.DrawFn, tree: Obj) -> Obj:
    """The tree with up to three of its values exchanged or taken away."""
    made = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, 3))):
        places = _places(made)
        if not places:
            return made
        *way, last = draw(st.sampled_from(places))
        parent = made
        for step in way:
            parent = parent[step]
        how = draw(st.integers(0, 9))
        if how == 0:
            del parent[last]
        else:
            parent[last] = draw(_values if how == 1 else _alike(parent[last]))
    return made


_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml")
_QUERIES = {
    "labelSelector": st.one_of(_texts, st.sampled_from(["a in (b,c)", "!x", "a notin (", "a==b,c!=d", "a>1"])),
    "fieldSelector": st.one_of(_texts, st.sampled_from(["metadata.name=matrix", "status.phase!=x", "a=b=c", "spec.x"])),
    "limit": _texts | _numbers.map(str),
    "continue": _texts,
    "resourceVersion": _texts | _numbers.map(str),
    "resourceVersionMatch": _texts | st.sampled_from(["Exact", "NotOlderThan"]),
    "timeoutSeconds": _texts | st.just("1"),
    "watch": st.sampled_from(["true", "0", "1", "x"]),
    "allowWatchBookmarks": st.sampled_from(["true", "x"]),
    "sendInitialEvents": st.sampled_from(["true", "false", "x"]),
    "dryRun": _texts | st.just("All"),
    "fieldManager": _texts,
    "fieldValidation": _texts | st.sampled_from(["Strict", "Ignore", "Warn"]),
    "force": st.sampled_from(["true", "false", "x"]),
    "gracePeriodSeconds": _texts | _numbers.map(str),
    "propagationPolicy": _texts | st.sampled_from(["Orphan", "Foreground", "Background"]),
    "includeObject": _texts | st.sampled_from(["None", "Object"]),
}
_ACCEPTS = st.one_of(
    st.sampled_from(
        [
            "application/json",
            "*/*",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            "application/vnd.kubernetes.protobuf",
        ]
    ),
    _texts,
)


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    kind, tree = draw(st.sampled_from(OBJECTS))
    method = draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "GET", "POST", "PATCH"]))
    path = draw(_paths(kind, tree, method))
    body, content_type = b"", ""
    if method in ("POST", "PUT"):
        body, content_type = draw(_bodies(tree))
    elif method == "PATCH":
        body, content_type = draw(_patches(tree))
    elif method == "DELETE" and draw(st.booleans()):
        options = {"preconditions": draw(_values), "gracePeriodSeconds": draw(_scalars)}
        body, content_type = _dumps(options), "application/json"
    query = [(key, draw(_QUERIES[key])) for key in draw(st.lists(st.sampled_from(sorted(_QUERIES)), max_size=4))]
    headers = {"accept": draw(_ACCEPTS), "user-agent": "fuzz"}
    if body:
        headers["content-type"] = content_type
    return Request(method, path, query, headers, body, ADMIN)


@st.composite
def _paths(draw: st.DrawFn, kind: Kind, tree: Obj, method: str) -> str:
    resource = kind.resource
    namespace = NS if resource.namespaced else None
    parts = sorted({*kind.subresources, "status", "scale", "proxy", "nothing"})
    how = draw(st.integers(0, 19))
    if how == 0:
        return "/" + "/".join(draw(st.lists(_texts.filter(bool), max_size=5)))
    if how <= 2:
        return resource.path(namespace, tree["metadata"]["name"], draw(st.sampled_from(parts)))
    if how == 3 and resource.namespaced:
        return resource.path()
    if method == "POST" or (method in ("GET", "DELETE") and how < 12):
        return resource.path(namespace)
    return resource.path(namespace, tree["metadata"]["name"])


@st.composite
def _bodies(draw: st.DrawFn, tree: Obj) -> tuple[bytes, str]:
    how = draw(st.integers(0, 19))
    if how == 0:
        return draw(st.binary(max_size=60)), draw(st.sampled_from(["application/json", "application/yaml", "x/y", ""]))
    if how == 1:
        return b"k8s\x00" + draw(st.binary(max_size=60)), "application/vnd.kubernetes.protobuf"
    if how == 2:
        return _dumps(draw(_values)), "application/json"
    return _dumps(draw(_changed(tree))), draw(st.sampled_from(["application/json", "application/yaml"]))


_operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={
        "path": st.sampled_from(
            ["", "/spec", "/metadata/labels/a", "/metadata/labels", "/spec/-", "/data/x~1y", "//", "~2"]
        ),
        "from": st.sampled_from(["", "/spec", "/metadata", "/metadata/name"]),
        "value": _values,
    },
)


@st.composite
def _patches(draw: st.DrawFn, tree: Obj) -> tuple[bytes, str]:
    if draw(st.integers(0, 3)) == 0:
        return _dumps(draw(st.lists(_operations, max_size=4))), "application/json-patch+json"
    changed = draw(_changed(tree))
    if draw(st.integers(0, 5)) == 0:
        changed["$patch"] = draw(_scalars)
        changed["$setElementOrder/spec"] = draw(_values)
        changed["$deleteFromPrimitiveList/x"] = draw(_values)
    return _dumps(changed), draw(st.sampled_from(_PATCHES))


def _dumps(value: Any) -> bytes:
    # Not orjson: numbers beyond 64 bits and lone surrogates are part of what is tried.
    return json.dumps(value).encode()


async def _answer(api: ApiServer, request: Request) -> Response:
    response = await asyncio.wait_for(api.handle(request), 60)
    if response.stream is not None:
        async with aclosing(response.stream) as stream:  # type: ignore[type-var]
            if response.status != 200 or not any(key == "watch" for key, _ in request.query):
                response.body = b"".join([chunk async for chunk in stream])
            else:
                # A watch may have nothing to say for a long while; what it has, it says at once.
                with suppress(TimeoutError, StopAsyncIteration):
                    response.body = await asyncio.wait_for(anext(stream), 0.002)
    return response


async def _try_all(requests: Sequence[Request]) -> None:
    store = MemoryStore()
    async with ControlPlane(store=store, chain=admitting(store)) as plane:
        client = plane.client()
        await client.create_tree(Namespace.resource, {"metadata": {"name": NS}})
        await client.create_tree(ServiceAccount.resource, {"metadata": {"name": "default"}}, NS)
        for request in requests:
            kind_path = request.path
            response = await _answer(plane.api, request)
            what = f"{request.method} {kind_path} {request.query} {request.headers} {request.body!r}: {response.body!r}"
            assert response.status < 500 or response.status in (501, 503, 504), what
            if response.status >= 400 and response.stream is None:
                in_yaml = response.headers["content-type"] == "application/yaml"
                status = yaml.safe_load(response.body) if in_yaml else orjson.loads(response.body)
                assert (status["kind"], status["code"]) == ("Status", response.status), what
                assert "Traceback" not in status["message"], what
        assert (await plane.api.handle(Request("GET", "/readyz", [], {}, b"", ADMIN))).status == 200


def _existing(requests: list[Request]) -> list[Request]:
    """The objects that most requests are about, made first."""
    found: dict[str, Request] = {}
    for request in requests:
        for kind, tree in OBJECTS:
            namespace = NS if kind.resource.namespaced else None
            if request.path.startswith(kind.resource.path(namespace, tree["metadata"]["name"])):
                path = kind.resource.path(namespace)
                headers = {"content-type": "application/json", "accept": "application/json"}
                found[request.path] = Request("POST", path, [], headers, _dumps(tree), ADMIN)
    return list(found.values())


_many = st.lists(_requests(), min_size=1, max_size=6)


@given(_many)
@settings(max_examples=150)
def test_no_request_makes_an_internal_error(requests: list[Request]) -> None:
    asyncio.run(_try_all([*_existing(requests), *requests]))


@pytest.mark.slow
@given(_many)
@settings(max_examples=20_000)
def test_no_request_of_many_makes_an_internal_error(requests: list[Request]) -> None:
    asyncio.run(_try_all([*_existing(requests), *requests]))
