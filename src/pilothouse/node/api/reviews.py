"""Asks the API server whose a token is, and what somebody may do on this node."""

from __future__ import annotations

import orjson

from pilothouse.client.client import Client
from pilothouse.machinery.objects import Obj
from pilothouse.node.api.authorise import Caller

_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class ClusterReviewer:
    """`Reviewer`, by TokenReview and SubjectAccessReview."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node

    async def who(self, token: str) -> Caller | None:
        status = await self._ask(_TOKENS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        return Caller(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()))

    async def may(self, caller: Caller, verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb,
            "group": "",
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        spec = {"user": caller.name, "groups": list(caller.groups), "resourceAttributes": attributes}
        if caller.uid:
            spec["uid"] = caller.uid
        status = await self._ask(_ACCESS, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        return bool(status.get("allowed"))

    async def _ask(self, path: str, version: str, kind: str, spec: Obj) -> Obj:
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        answer: Obj = orjson.loads(await self._client.request("POST", path, body=body))
        return dict(answer.get("status") or {})
