"""Puts what somebody outside of this program made of an object into its place."""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.machinery.objects import Obj


def rewrite(request: AdmissionRequest, made: Obj) -> bool:
    """Makes the request's object the one given, in its kind's shape; whether that changed anything. Raises
    InternalError for what is no object of the kind."""
    assert request.object is not None
    _keep_identity(made, request.object, request.operation)
    if made == request.object:
        return False
    request.object.clear()
    request.object.update(made)
    if request.reshape is not None:
        request.reshape(request.object)
    return True


def _keep_identity(made: Obj, before: Obj, operation: str) -> None:
    """What a request is about, nobody changes; a new object may be named."""
    meta, old = made.setdefault("metadata", {}), before.get("metadata") or {}
    for field in ("namespace", "uid", *(("name",) if operation != "CREATE" or old.get("name") else ())):
        if field in old:
            meta[field] = old[field]
        else:
            meta.pop(field, None)
    for field in ("apiVersion", "kind"):
        if field in before:
            made[field] = before[field]
