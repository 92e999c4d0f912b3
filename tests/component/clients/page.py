"""docs/reference/compatibility.md, from what the clients did."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from acted_on import ACTED_ON, ON_A_NODE, PARTLY, SUBRESOURCES
from manifest import STANDARD

from pilothouse.apiserver.subresources import subresource
from pilothouse.kinds.kind import Kind

PAGE = Path(__file__).parents[3] / "docs/reference/compatibility.md"
_HEAD = """\
# Compatibility

Written by `UPDATE_COMPATIBILITY=1 pytest tests/component/clients` from what stock clients really did to a server of
this version; the same test fails when the page says anything else. The level is Kubernetes 1.35.

Clients: {clients}.

## Kinds

*Acted on*: what becomes of an object. A kind that is only *stored* is served in full (structure, defaults, selectors,
watches, apply), and nothing here acts on it. *Works* means every verb the client offers for an object worked.

| kind | apiVersion | acted on | {headers} |
|---|---|---|{rule}|
"""


class Matrix:
    """What each client did with each kind: "" worked, None the client does not offer it, else what went wrong."""

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[tuple[str, str], dict[str, str | None]]] = {}
        self._charts: dict[str, str] = {}
        self._subresources: dict[str, str] = {}

    def note_subresource(self, path: str, by: str) -> None:
        """A subresource other than status and scale that worked."""
        self._subresources[path] = by

    def note(self, client: str, kind: Kind, verb: str, outcome: str | None) -> None:
        place = (kind.resource.api_version, kind.resource.kind)
        self._outcomes.setdefault(client, {}).setdefault(place, {})[verb] = outcome

    def note_chart(self, action: str, outcome: str) -> None:
        self._charts[action] = outcome

    @property
    def clients(self) -> list[str]:
        return list(self._outcomes)

    @property
    def charts(self) -> dict[str, str]:
        return self._charts

    def page(self) -> str:
        head = _HEAD.format(
            clients=", ".join(self.clients),
            headers=" | ".join(self.clients),
            rule="|".join("---" for _ in self.clients),
        )
        return "".join([head, *self._kinds(), *self._verbs(), *self._parts(), *self._helm(), _TAIL])

    def _kinds(self) -> Iterable[str]:
        for kind in sorted(STANDARD, key=lambda kind: (kind.resource.group, kind.resource.kind, kind.resource.version)):
            resource = kind.resource
            place = (resource.api_version, resource.kind)
            cells = " | ".join(_cell(self._outcomes[client].get(place, {})) for client in self.clients)
            yield f"| {resource.kind} | `{resource.api_version}` | {ACTED_ON[place]} | {cells} |\n"

    def _verbs(self) -> Iterable[str]:
        yield "\n## Verbs\n\nBy client, with how many kinds a verb worked. A dash: the client has no such call.\n\n"
        yield f"| verb | {' | '.join(self.clients)} |\n|---|{'|'.join('---' for _ in self.clients)}|\n"
        verbs = dict.fromkeys(verb for places in self._outcomes.values() for done in places.values() for verb in done)
        for verb in verbs:
            yield f"| {verb} | {' | '.join(self._count(client, verb) for client in self.clients)} |\n"

    def _count(self, client: str, verb: str) -> str:
        tried = [done[verb] for done in self._outcomes[client].values() if done.get(verb) is not None]
        worked = sum(1 for outcome in tried if not outcome)
        if not tried:
            return "-"
        return str(worked) if worked == len(tried) else f"{worked} of {len(tried)}"

    def _parts(self) -> Iterable[str]:
        yield "\n## Subresources\n\n| subresource | state | tried by |\n|---|---|---|\n"
        for path in SUBRESOURCES:
            place, name = path.split("/")
            plural, _, group = place.partition(".")
            kind = next((k for k in STANDARD if (k.resource.group, k.resource.plural) == (group, plural)), None)
            served = kind is not None and name in kind.subresources and subresource(group, plural, name) is not None
            common = "the clients above" if name in ("status", "scale") else "not tried by a stock client"
            by = self._subresources.get(path) or ON_A_NODE.get(path) or common
            state = f"partly: {PARTLY[path]}" if path in PARTLY else "works"
            yield f"| {path} | {state if served else 'not yet'} | {by if served else '-'} |\n"

    def _helm(self) -> Iterable[str]:
        yield "\n## helm 4\n\nOne chart of a Deployment, a Service, a ConfigMap, a hook and a test.\n\n"
        yield "| action | outcome |\n|---|---|\n"
        for action, outcome in self._charts.items():
            yield f"| {action} | {outcome or 'works'} |\n"


def _cell(done: dict[str, str | None]) -> str:
    if not done:
        return "not tried"
    failed = [f"{verb}: {outcome}" for verb, outcome in done.items() if outcome]
    return "; ".join(failed).replace("|", "/").replace("\n", " ") if failed else "works"


_TAIL = """
## Not yet

`ComponentStatus` (deprecated) and POST of `bindings` (`pods/binding` is served).
Beta and alpha versions are not served.
"""
