"""Asks a webhook whether a user may do something, by a SubjectAccessReview.

What it answered is remembered for as long as its configuration says, by all that it was asked. A webhook that cannot
be asked denies or has no opinion, as its failure policy says.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import orjson

from pilothouse.apiserver.authorization.webhook.config import Webhook
from pilothouse.apiserver.chain import Attributes, Decision
from pilothouse.client.wire import Request
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj

if TYPE_CHECKING:
    from pilothouse.policy import cel

_REMEMBERED: Final = 4096
_LONGEST_KEY: Final = 10_000
"""Bytes of a question whose answer is remembered."""
_NO_OPINION: Final = Decision(False)
log = logging.getLogger(__name__)


class WebhookAuthorizer:
    """One webhook."""

    def __init__(self, webhook: Webhook, now: Callable[[], float] = time.monotonic) -> None:
        from pilothouse.apiserver.authorization.webhook.conditions import compile_condition
        from pilothouse.client.https import HttpsTransport

        self.webhook = webhook
        self._now = now
        self._conditions: list[cel.Program] = [compile_condition(text) for text in webhook.conditions]
        access = webhook.access
        self._transport = HttpsTransport(access.server, access.tls, token=access.token, timeout=webhook.timeout)
        self._remembered: OrderedDict[bytes, tuple[Decision, float]] = OrderedDict()

    async def allow(self, attributes: Attributes) -> Decision:
        spec = review_spec(attributes)
        if self._conditions:
            from pilothouse.apiserver.authorization.webhook.conditions import ConditionFailed, all_hold

            try:
                if not all_hold(self._conditions, spec):
                    return _NO_OPINION
            except ConditionFailed as error:
                return self._failed(f"match condition {error}")
        question = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        found = self._remembered.get(question)
        if found is not None and self._now() < found[1]:
            return found[0]
        try:
            decision = await self._ask(spec)
        except (ApiError, ValueError) as error:
            return self._failed(str(error))
        self._remember(question, decision)
        return decision

    async def close(self) -> None:
        await self._transport.close()

    def _remember(self, question: bytes, decision: Decision) -> None:
        seconds = self.webhook.allowed_ttl if decision.allowed else self.webhook.other_ttl
        if not seconds or len(question) > _LONGEST_KEY:
            self._remembered.pop(question, None)
            return
        self._remembered[question] = (decision, self._now() + seconds)
        self._remembered.move_to_end(question)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    async def _ask(self, spec: Obj) -> Decision:
        """Raises ApiError when it cannot be reached, ValueError for an answer that is none."""
        body = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec}
        headers = {"content-type": "application/json", "accept": "application/json"}
        reply = await self._transport.send(Request("POST", "", [], headers, orjson.dumps(body)))
        if reply.status not in (200, 201):
            raise ValueError(f"it answered {reply.status}")
        tree = orjson.loads(reply.body)
        status = tree.get("status") if isinstance(tree, dict) else None
        if not isinstance(status, dict) or not isinstance(status.get("allowed"), bool):
            raise ValueError("its answer is no SubjectAccessReview with a status")
        allowed, denied = status["allowed"], status.get("denied") is True
        if allowed and denied:
            raise ValueError("its answer both allows and denies")
        return Decision(allowed, str(status.get("reason") or ""), denied)

    def _failed(self, why: str) -> Decision:
        log.warning("the authorisation webhook %s failed: %s", self.webhook.name, why)
        if self.webhook.denies_on_failure:
            return Decision(False, f"the authorisation webhook {self.webhook.name} could not be asked", True)
        return _NO_OPINION


def review_spec(attributes: Attributes) -> Obj:
    """The spec of the SubjectAccessReview; what is empty is left out, as in upstream's."""
    user = attributes.user
    if attributes.is_resource:
        asked = {
            "namespace": attributes.namespace,
            "verb": attributes.verb,
            "group": attributes.group,
            "version": attributes.version,
            "resource": attributes.resource,
            "subresource": attributes.subresource,
            "name": attributes.name,
        }
        spec: Obj = {"resourceAttributes": {key: value for key, value in asked.items() if value}}
    else:
        spec = {"nonResourceAttributes": {"path": attributes.path, "verb": attributes.verb}}
    spec["user"] = user.name
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    return spec
