"""What is sent to a webhook and what it may answer. Pure.

Source of the messages: Kubernetes' `webhook/request/admissionreview.go` and `webhook/errors/statuserror.go`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

import orjson

from pilothouse.machinery.errors import ApiError, BadRequest, Cause
from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.target import Target

_GROUP = "admission.k8s.io"
_VERSIONS = ("v1", "v1beta1")


class InvalidAnswer(Exception):
    """A webhook answered something that is no answer."""


class Answer(NamedTuple):
    """What a webhook says. `patch` is a JSON patch, None for none."""

    allowed: bool
    status: Obj
    patch: Any
    warnings: tuple[str, ...]
    annotations: dict[str, str]


def version_of(webhook: Obj) -> str:
    """The first version of AdmissionReview the webhook names that is known here."""
    return next((entry for entry in webhook.get("admissionReviewVersions") or () if entry in _VERSIONS), "v1")


def request_body(webhook: Obj, uid: str, value: Obj, target: Target) -> bytes:
    """The AdmissionReview to send."""
    request = {"uid": uid, **value, "object": target.object, "oldObject": target.old_object}
    return orjson.dumps(
        {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version_of(webhook)}", "request": request}
    )


def read_answer(body: bytes, webhook: Obj, uid: str, *, mutating: bool) -> Answer:
    """Raises InvalidAnswer."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidAnswer(f"couldn't get version/kind; json parse error: {error}") from None
    version = version_of(webhook)
    wanted = (f"{_GROUP}/{version}", "AdmissionReview")
    if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != wanted:
        found = f"{review.get('apiVersion')}, Kind={review.get('kind')}" if isinstance(review, dict) else "no object"
        raise InvalidAnswer(f"expected webhook response of {wanted[0]}, Kind={wanted[1]}, got {found}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise InvalidAnswer("webhook response was absent")
    if version == "v1" and response.get("uid") != uid:
        raise InvalidAnswer(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    return Answer(
        response.get("allowed") is True,
        _mapping(response, "status"),
        _patch(response, version) if mutating else None,
        tuple(entry for entry in response.get("warnings") or () if isinstance(entry, str)),
        {key: str(entry) for key, entry in _mapping(response, "auditAnnotations").items()},
    )


def _mapping(response: Obj, field: str) -> Obj:
    found = response.get(field)
    return found if isinstance(found, dict) else {}


def _patch(response: Obj, version: str) -> Any:
    patch, kind = response.get("patch"), response.get("patchType")
    if not patch:
        if kind and version == "v1":
            raise InvalidAnswer("webhook returned response.patchType but not response.patch")
        return None
    if not kind and version == "v1":
        raise InvalidAnswer("webhook returned response.patch but not response.patchType")
    if (kind or "JSONPatch") != "JSONPatch":
        raise InvalidAnswer(f'invalid value of response.patchType, expected "JSONPatch", got "{kind}"')
    try:
        return orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, orjson.JSONDecodeError, TypeError) as error:
        raise InvalidAnswer(f"received undecodable patch in webhook response: {error}") from None


class Rejection(ApiError):
    """A webhook's no, with the code and the reason it gave."""

    def __init__(self, name: str, status: Obj) -> None:
        by = f'admission webhook "{name}" denied the request'
        why = status.get("message") or status.get("reason")
        details = _mapping(status, "details")
        causes = [entry for entry in details.get("causes") or () if isinstance(entry, dict)]
        super().__init__(
            f"{by}: {why}" if why else f"{by} without explanation",
            group=str(details.get("group") or ""),
            kind=str(details.get("kind") or ""),
            name=str(details.get("name") or ""),
            causes=[Cause(*(str(entry.get(key) or "") for key in ("field", "reason", "message"))) for entry in causes],
        )
        code = status.get("code")
        given = code if isinstance(code, int) and 400 <= code < 600 else BadRequest.code
        self.code = given  # type: ignore[misc]
        self.reason = str(status.get("reason") or "")  # type: ignore[misc]
