"""`/healthz`, `/livez`, `/readyz`: short by default, line by line with `?verbose`, one check by its own path. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilothouse.apiserver import refusals
from pilothouse.client.wire import Response
from pilothouse.store.store import Store

_TEXT = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
_CHECKS: Mapping[str, Callable[[Store], str]] = {
    "ping": lambda store: "",
    "store": lambda store: store.problem,
}
"""Each says what is wrong, "" when nothing is."""


def health(path: str, query: list[tuple[str, str]], store: Store) -> Response:
    """The answer to a health path. Raises NotFound for a check that does not exist."""
    kind, _, name = path.strip("/").partition("/")
    if name:
        check = _CHECKS.get(name)
        if check is None:
            raise refusals.no_such_path()
        problem = check(store)
        return Response(500 if problem else 200, dict(_TEXT), (problem or "ok").encode())
    excluded = {value for key, value in query if key == "exclude"}
    results = {check: run(store) for check, run in _CHECKS.items() if check not in excluded}
    passed = not any(results.values())
    if passed and not any(key == "verbose" for key, _ in query):
        return Response(200, dict(_TEXT), b"ok")
    lines = [f"[-]{check} failed: {problem}" if problem else f"[+]{check} ok" for check, problem in results.items()]
    lines.append(f"{kind} check {'passed' if passed else 'failed'}")
    return Response(200 if passed else 500, dict(_TEXT), "\n".join([*lines, ""]).encode())
