"""Server-side apply of manifests, with every refusal told in terms of the file that was written."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

import orjson

from pilothouse.cli.manifests import Manifest, Problem
from pilothouse.client.client import Client
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.schema import UnknownKind, schema_for
from pilothouse.machinery.structural import unknown_fields

FIELD_MANAGER = "pilothouse-deploy"
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(slots=True)
class Applied:
    """One object as the server has it now; `outcome` is created, configured or unchanged."""

    manifest: Manifest
    resource: Resource
    live: Obj
    outcome: str
    warnings: list[str] = field(default_factory=list)


class Applier:
    """Applies manifests one by one; the API's kinds are asked for once per group and version."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._served: dict[str, dict[str, Resource]] = {}

    async def apply(self, manifest: Manifest) -> Applied | list[Problem]:
        """The object as applied, or what is wrong with it. Raises ServiceUnavailable when the API is out of reach."""
        found = await self._resource(manifest)
        if isinstance(found, Problem):
            return [found]
        unknown = _unknown(manifest, found)
        if unknown:
            return unknown
        tree = manifest.tree
        namespace = None
        if found.namespaced:
            namespace = tree["metadata"].setdefault("namespace", self._namespace)
        name = tree["metadata"].get("name")
        if not name:
            return [_problem(manifest, "metadata.name is needed (generateName makes a new object each time)")]
        before = await self._version(found, namespace, name)
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("fieldValidation", "Strict")]
        response = await self._client.send(
            "PATCH",
            found.path(namespace, name),
            query=query,
            body=orjson.dumps(tree),
            content_type="application/apply-patch+yaml",
        )
        body = orjson.loads(response.body)
        if response.status >= 400:
            return _refusal(manifest, body)
        after = body["metadata"]["resourceVersion"]
        outcome = "created" if before is None else "unchanged" if before == after else "configured"
        return Applied(manifest, found, body, outcome, _warnings(response.headers.get("warning", "")))

    async def _version(self, resource: Resource, namespace: str | None, name: str) -> str | None:
        try:
            live = orjson.loads(await self._client.request("GET", resource.path(namespace, name)))
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return str(live["metadata"]["resourceVersion"])

    async def _resource(self, manifest: Manifest) -> Resource | Problem:
        api_version, kind = manifest.tree["apiVersion"], manifest.kind
        if api_version not in self._served:
            self._served[api_version] = await self._discover(api_version)
        kinds = self._served[api_version]
        if kind in kinds:
            return kinds[kind]
        near = difflib.get_close_matches(kind, kinds, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        if not kinds:
            return _problem(manifest, f"this cluster does not serve apiVersion {api_version}", "apiVersion")
        return _problem(manifest, f"this cluster serves no kind {kind} in apiVersion {api_version}{hint}", "kind")

    async def _discover(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{api_version}" if group else f"/api/{version}"
        try:
            tree = orjson.loads(await self._client.request("GET", path))
        except ApiError as error:
            if error.code == 404:
                return {}
            raise
        return {
            item["kind"]: Resource(group, version, item["kind"], item["name"], item["namespaced"])
            for item in tree["resources"]
            if "/" not in item["name"]
        }


def _unknown(manifest: Manifest, resource: Resource) -> list[Problem]:
    try:
        schema = schema_for(resource.group, resource.version, resource.kind)
    except UnknownKind:
        return []  # a custom kind: the server says
    problems = []
    for field_ in unknown_fields(schema, manifest.tree):
        hint = f": did you mean {field_.suggestion}?" if field_.suggestion else ""
        problems.append(_problem(manifest, f"unknown field {field_.path}{hint}", field_.path))
    return problems


def _refusal(manifest: Manifest, status: Obj) -> list[Problem]:
    causes = (status.get("details") or {}).get("causes") or []
    if status.get("reason") == "Invalid" and causes:
        return [_problem(manifest, f"{c.get('field', '')}: {c.get('message', '')}", c.get("field", "")) for c in causes]
    return [_problem(manifest, str(status.get("message", "refused")))]


def _problem(manifest: Manifest, message: str, path: str = "") -> Problem:
    line = manifest.line_of(path) if path else manifest.line
    return Problem(manifest.file, f"{manifest.title}: {message}", line)


def _warnings(header: str) -> list[str]:
    """The texts of `299 - "…"` warnings (RFC 7234, section 5.5; quoted strings by RFC 9110, section 5.6.4)."""
    return [_ESCAPED.sub(r"\1", text) for text in _WARNING.findall(header)]
