"""What a conversion webhook is asked, and what it may answer. Pure.

Source: `apiextensions.k8s.io/v1` ConversionReview, and Kubernetes documentation, "Webhook conversion": it may change
labels and annotations, and nothing else of the metadata.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from pilothouse.machinery.errors import InternalError
from pilothouse.machinery.objects import Obj

_CHANGEABLE = ("labels", "annotations")


def question(api_version: str, objects: Sequence[Obj], review_version: str) -> tuple[str, bytes]:
    """The uid and the body that asks for `objects` in `api_version`."""
    uid = str(uuid.uuid4())
    review = {
        "apiVersion": f"apiextensions.k8s.io/{review_version}",
        "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    }
    return uid, orjson.dumps(review)


def answer(body: bytes, uid: str, api_version: str, asked: Sequence[Obj], who: str) -> list[Obj]:
    """The converted objects in the order asked for. Raises InternalError, with `who` failed and why."""

    def failed(why: str) -> InternalError:
        return InternalError(f"conversion webhook for {who} failed: {why}")

    try:
        tree: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise failed(f"the answer is not JSON: {error}") from error
    response = tree.get("response") if isinstance(tree, dict) else None
    if not isinstance(response, dict):
        raise failed("no response provided")
    if response.get("uid") != uid:
        raise failed(f'expected response.uid="{uid}", got "{response.get("uid")}"')
    result = response.get("result")
    if not isinstance(result, dict) or result.get("status") != "Success":
        raise failed(str(result.get("message") or "no message") if isinstance(result, dict) else "no result")
    converted = response.get("convertedObjects")
    if not isinstance(converted, list) or len(converted) != len(asked):
        count = len(converted) if isinstance(converted, list) else 0
        raise failed(f"webhook returned {count} objects, expected {len(asked)}")
    for index, (before, after) in enumerate(zip(asked, converted)):
        why = _fault(before, after, api_version)
        if why:
            raise failed(f"the converted object at index {index} {why}")
    return [_with_metadata(before, after) for before, after in zip(asked, converted)]


def _fault(before: Obj, after: Any, api_version: str) -> str:
    if not isinstance(after, dict):
        return "is not an object"
    if after.get("apiVersion") != api_version:
        return f"has apiVersion {after.get('apiVersion')!r}, expected {api_version!r}"
    if after.get("kind") != before.get("kind"):
        return f"has kind {after.get('kind')!r}, expected {before.get('kind')!r}"
    meta = after.get("metadata")
    if not isinstance(meta, dict):
        return "has no metadata"
    for key in ("name", "namespace", "uid"):
        if (meta.get(key) or "") != (before["metadata"].get(key) or ""):
            return f"has a different {key}: {meta.get(key)!r}, expected {before['metadata'].get(key)!r}"
    for key in _CHANGEABLE:
        texts = meta.get(key)
        if texts is not None and not (
            isinstance(texts, dict) and all(isinstance(value, str) for value in texts.values())
        ):
            return f"has metadata.{key} that are not texts"
    return ""


def _with_metadata(before: Obj, after: Obj) -> Obj:
    """The converted object, its metadata as it was but for what may change."""
    meta = {key: value for key, value in before["metadata"].items() if key not in _CHANGEABLE}
    meta.update({key: after["metadata"][key] for key in _CHANGEABLE if after["metadata"].get(key)})
    return {**after, "metadata": meta}
