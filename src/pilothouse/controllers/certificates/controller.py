"""Approves what needs no person, signs what is approved, and clears away what is done."""

from __future__ import annotations

import base64
import datetime as dt
import logging

import orjson

from pilothouse.controllers.certificates.asked import Asked, read_request
from pilothouse.controllers.certificates.authority import CertificateAuthority, Leaf
from pilothouse.controllers.certificates.decide import (
    CLIENT,
    NODE_SERVING,
    SIGNERS,
    approval,
    conditions,
    fault,
    node_of,
)
from pilothouse.controllers.context import Context
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.kinds.core.node import Node
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import parse_timestamp, timestamp
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "certificate-controller"
NODE_LIFETIME = dt.timedelta(days=30)
CLIENT_LIFETIME = dt.timedelta(days=365)
_KEEP_DONE, _KEEP_PENDING = 3600.0, 24 * 3600.0
"""Seconds after which a decided request, or one nobody decided, is deleted."""
log = logging.getLogger(__name__)


async def run(context: Context, *, ca_pem: bytes, ca_key_pem: bytes) -> None:
    """Approves, signs and clears away until cancelled."""
    controller = Controller(context, CertificateAuthority(ca_pem, ca_key_pem))
    await context.informers.synced(CertificateSigningRequest, Node)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    def __init__(self, context: Context, authority: CertificateAuthority) -> None:
        self._context = context
        self._authority = authority
        self._requests = context.informers.of(CertificateSigningRequest)
        self._nodes = context.informers.of(Node)
        self.queue = KeyedQueue()
        self._waiting: dict[str, set[str]] = {}

    def subscribe(self) -> None:
        self._requests.subscribe(lambda key, old, new: self.queue.add(key))
        self._nodes.subscribe(self._node_changed)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        for waiting in self._waiting.pop(key, ()):
            self.queue.add(waiting)

    async def reconcile(self, key: str) -> float | None:
        request = self._requests.get(key)
        if request is None:
            return None
        done = request.status.certificate or {"Denied", "Failed"} & conditions(request)
        left = self._seconds_left(request, bool(done))
        if left <= 0:
            try:
                await self._context.client.delete(CertificateSigningRequest, key, uid=request.metadata.uid)
            except NotFound:
                return None
            return None
        if not done and request.spec.signer_name in SIGNERS:
            await self._decide(request)
        return left

    def _seconds_left(self, request: CertificateSigningRequest, done: bool) -> float:
        created = request.metadata.creation_timestamp
        age = (self._context.now() - parse_timestamp(created)).total_seconds() if created else 0.0
        return (_KEEP_DONE if done else _KEEP_PENDING) - age

    async def _decide(self, request: CertificateSigningRequest) -> None:
        try:
            asked = read_request(base64.b64decode(request.spec.request))
            problem = fault(request, asked)
        except ValueError as error:
            await self._fail(request, f"the request cannot be read: {error}")
            return
        if problem:
            await self._fail(request, problem)
        elif "Approved" in conditions(request):
            await self._sign(request, asked)
        else:
            await self._approve(request, asked)

    async def _approve(self, request: CertificateSigningRequest, asked: Asked) -> None:
        name = node_of(asked)
        verdict = approval(request, asked, self._nodes.get(name) if name else None)
        if not verdict.approve:
            if name and request.spec.signer_name == NODE_SERVING:
                self._waiting.setdefault(name, set()).add(request.name)
            log.debug("%s waits: %s", request.name, verdict.why)
            return
        if verdict.permission and not await self._may(request, verdict.permission):
            return
        await self._add_condition(request, "approval", "Approved", "AutoApproved", verdict.why)

    async def _may(self, request: CertificateSigningRequest, subresource: str) -> bool:
        """Whether the requester may have this kind of request approved automatically."""
        spec = request.spec
        resource = CertificateSigningRequest.resource
        asked = {"group": resource.group, "resource": resource.plural, "subresource": subresource, "verb": "create"}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": spec.username, "groups": spec.groups, "uid": spec.uid, "resourceAttributes": asked},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        answer = orjson.loads(await self._context.client.request("POST", path, body=body))
        return bool(answer["status"]["allowed"])

    async def _sign(self, request: CertificateSigningRequest, asked: Asked) -> None:
        assert asked.public_key is not None, "a request with another kind of key has a fault"
        spec = request.spec
        longest = CLIENT_LIFETIME if spec.signer_name == CLIENT else NODE_LIFETIME
        seconds = spec.expiration_seconds
        lifetime = NODE_LIFETIME if seconds is None else min(dt.timedelta(seconds=seconds), longest)
        serving = spec.signer_name == NODE_SERVING
        leaf = Leaf(
            asked.common_name,
            asked.organizations,
            asked.dns_names if serving else (),
            asked.ip_addresses if serving else (),
            client=not serving,
            server=serving,
        )
        certificate = self._authority.issue(leaf, asked.public_key, lifetime, self._context.now())
        patch = {
            "metadata": {"uid": request.metadata.uid},
            "status": {"certificate": base64.b64encode(certificate).decode()},
        }
        await self._context.client.patch(CertificateSigningRequest, request.name, None, patch, subresource="status")

    async def _fail(self, request: CertificateSigningRequest, why: str) -> None:
        await self._add_condition(request, "status", "Failed", "SignerValidationFailure", why)

    async def _add_condition(
        self, request: CertificateSigningRequest, subresource: str, kind: str, reason: str, message: str
    ) -> None:
        now = timestamp(self._context.now())
        added = {"type": kind, "status": "True", "reason": reason, "message": message}
        kept = [
            {"type": old.type, "status": old.status, "reason": old.reason, "message": old.message}
            for old in request.status.conditions
        ]
        patch = {
            "metadata": {"uid": request.metadata.uid, "resourceVersion": request.metadata.resource_version},
            "status": {"conditions": [*kept, {**added, "lastUpdateTime": now, "lastTransitionTime": now}]},
        }
        client = self._context.client
        await client.patch(CertificateSigningRequest, request.name, None, patch, subresource=subresource)
