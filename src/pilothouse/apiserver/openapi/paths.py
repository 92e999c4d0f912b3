"""`paths`: the operations on each resource, OpenAPI 3.

kubectl looks for the PATCH operation of an item's path: its `x-kubernetes-group-version-kind` and its query
parameter `fieldValidation` must stand there in full, not by reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pilothouse.apiserver.openapi.definitions import META, REF
from pilothouse.apiserver.openapi.served import Served, ServedSubresource
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import GroupVersionKind

_STRATEGIC: Final = "application/strategic-merge-patch+json"
_PATCH_TYPES: Final = (
    "application/json-patch+json",
    "application/merge-patch+json",
    _STRATEGIC,
    "application/apply-patch+yaml",
)
_TYPES: Final[dict[str, tuple[str, str]]] = {
    "allowWatchBookmarks": ("boolean", "Ask for events of type BOOKMARK, which carry a resourceVersion only."),
    "continue": ("string", "Token of the previous page; the answer is the next page of the same list."),
    "dryRun": ("string", "All: everything is done but storing the result."),
    "fieldManager": ("string", "Name of who makes the change, recorded in metadata.managedFields."),
    "fieldSelector": ("string", "Only objects whose fields match, such as metadata.name=web."),
    "fieldValidation": ("string", "What unknown or duplicate fields do: Ignore, Warn or Strict."),
    "force": ("boolean", "Of apply: take fields over that other managers own."),
    "gracePeriodSeconds": ("integer", "Seconds until the object is deleted; 0 is at once."),
    "labelSelector": ("string", "Only objects whose labels match, such as app=web,tier!=back."),
    "limit": ("integer", "At most so many objects in one answer."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "resourceVersion": ("string", "The version from which on the answer may be, or the watch starts."),
    "resourceVersionMatch": ("string", "How resourceVersion is applied to a list: Exact or NotOlderThan."),
    "sendInitialEvents": ("boolean", "Of watch: begin with the objects that exist, closed by a bookmark."),
    "timeoutSeconds": ("integer", "Ends the list or watch after this time."),
    "watch": ("boolean", "Stream the changes instead of listing."),
}
_WRITE: Final = ("dryRun", "fieldManager", "fieldValidation")
_DELETE: Final = ("dryRun", "gracePeriodSeconds", "propagationPolicy")
_LIST: Final = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
# verb: HTTP method, action, query parameters; those of a collection first.
_ON_COLLECTION: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "list": ("get", "list", _LIST),
    "create": ("post", "post", _WRITE),
    "deletecollection": ("delete", "deletecollection", (*_DELETE, "fieldSelector", "labelSelector")),
}
_ON_ITEM: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "get": ("get", "get", ()),
    "update": ("put", "put", _WRITE),
    "patch": ("patch", "patch", (*_WRITE, "force")),
    "delete": ("delete", "delete", _DELETE),
}
_ON_SUBRESOURCE: Final = {**_ON_ITEM, "create": ("post", "post", _WRITE)}


def paths(served: Iterable[Served]) -> dict[str, Obj]:
    """The paths of the resources, by path."""
    found: dict[str, Obj] = {}
    for entry in served:
        resource = entry.resource
        namespace = "{namespace}" if resource.namespaced else None
        collection = resource.path(namespace)
        _add(found, collection, entry, _ON_COLLECTION, namespace is not None)
        if namespace and "list" in entry.verbs:
            _add(found, resource.path(), entry, {"list": _ON_COLLECTION["list"]}, False, "ForAllNamespaces")
        _add(found, resource.path(namespace, "{name}"), entry, _ON_ITEM, namespace is not None)
        for sub in entry.subresources:
            _add(found, resource.path(namespace, "{name}", sub.name), entry, _ON_SUBRESOURCE, bool(namespace), sub=sub)
    return dict(sorted(found.items()))


def _add(
    found: dict[str, Obj],
    path: str,
    entry: Served,
    table: dict[str, tuple[str, str, tuple[str, ...]]],
    namespaced: bool,
    suffix: str = "",
    *,
    sub: ServedSubresource | None = None,
) -> None:
    gvk = (sub.kind if sub else None) or entry.gvk
    verbs = sub.verbs if sub else entry.verbs
    item: Obj = {}
    for verb, (method, action, query) in table.items():
        if verb in verbs:
            item[method] = _operation(entry, gvk, verb, action, query, namespaced, suffix, sub)
    if item:
        parameters = [_path_parameter("name")] if "{name}" in path else []
        parameters += [_path_parameter("namespace")] if namespaced else []
        if parameters:
            item["parameters"] = parameters
        found[path] = item


def _operation(
    entry: Served,
    gvk: GroupVersionKind,
    verb: str,
    action: str,
    query: tuple[str, ...],
    namespaced: bool,
    suffix: str,
    sub: ServedSubresource | None,
) -> Obj:
    group = entry.resource.group.split(".")[0].capitalize() or "Core"
    version = entry.resource.version
    scope = "Namespaced" if namespaced else ""
    kind = entry.resource.kind + (sub.name.capitalize() if sub else "")
    verb_name = {"update": "replace", "deletecollection": "deleteCollection", "get": "read"}.get(verb, verb)
    own = entry.type_name(gvk)
    list_ = entry.type_name(entry.list_gvk if gvk == entry.gvk else gvk._replace(kind=f"{gvk.kind}List"))
    deleted = own if entry.returns_deleted else META + "Status"
    answer = {"list": list_, "delete": deleted, "deletecollection": META + "Status"}.get(verb, own)
    operation: Obj = {
        "description": f"{verb_name} {gvk.kind}",
        "operationId": f"{verb_name}{group}{version.capitalize()}{scope}{kind}{suffix}",
        "tags": [f"{group.lower()}_{version}"],
        "parameters": [_query_parameter(name) for name in query],
        "responses": {"200": _content("OK", answer), "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk._asdict(),
    }
    if verb == "create":
        operation["responses"]["201"] = _content("Created", own)
    body = {"create": own, "update": own, "delete": META + "DeleteOptions", "deletecollection": META + "DeleteOptions"}
    if verb == "patch":
        schema = {"$ref": REF + META + "Patch"}
        # kubectl apply sends strategic merge patches to whatever says here that it takes them.
        patch_types = [type_ for type_ in _PATCH_TYPES if not (entry.schema and type_ == _STRATEGIC)]
        operation["requestBody"] = {"content": {type_: {"schema": schema} for type_ in patch_types}, "required": True}
    elif body.get(verb):
        operation["requestBody"] = {
            "content": {"*/*": {"schema": {"$ref": f"{REF}{body[verb]}"}}},
            "required": verb in ("create", "update"),
        }
    return operation


def _content(description: str, definition: str | None) -> Obj:
    if definition is None:
        return {"description": description}
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": REF + definition}}},
    }


def _query_parameter(name: str) -> Obj:
    type_, description = _TYPES[name]
    return {"name": name, "in": "query", "description": description, "schema": {"type": type_, "uniqueItems": True}}


def _path_parameter(name: str) -> Obj:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "name of the object" if name == "name" else "the object's namespace",
        "schema": {"type": "string", "uniqueItems": True},
    }
