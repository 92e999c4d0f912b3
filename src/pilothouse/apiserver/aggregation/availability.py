"""Asks the servers of aggregated APIs what they serve, and says in their APIService whether they answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson

from pilothouse.apiserver.aggregation.proxy import Proxy
from pilothouse.apiserver.aggregation.registered import Learned, Registered, entries_of
from pilothouse.client.client import Client
from pilothouse.client.wire import Request, User
from pilothouse.kinds.apiregistration.api_service import APIService
from pilothouse.kinds.view import Condition, to_tree
from pilothouse.machinery.errors import ApiError, NotFound, ServiceUnavailable
from pilothouse.machinery.objects import timestamp

NAME = "apiservice-availability-controller"
_ASKER = User("system:kube-aggregator", ("system:masters",))
_LOOK_SECONDS = 1.0
_ASK_SECONDS = {True: 30.0, False: 5.0}
"""Between questions to a server that answered, and to one that did not."""
_ANSWER_SECONDS = 5.0
_LARGEST = 8 << 20
log = logging.getLogger(__name__)

Outcome = tuple[str, str, str]
"""Status, reason and message of the condition Available."""
_PASSED: Outcome = ("True", "Passed", "all checks passed")
_LOCAL: Outcome = ("True", "Local", "Local APIServices are always available")


class Availability:
    """`run` asks every server again and again; `look` asks one."""

    def __init__(self, registered: Registered, proxy: Proxy) -> None:
        self._registered = registered
        self._proxy = proxy

    async def run(self, client: Client) -> None:
        """Keeps the condition Available true to what is, until cancelled."""
        due: dict[str, tuple[float, str]] = {}
        loop = asyncio.get_running_loop()
        while True:
            known = await self._all(client)
            for service in known:
                when, generation = due.get(service.name, (0.0, ""))
                essence = f"{service.metadata.uid} {orjson.dumps(to_tree(service.spec), option=orjson.OPT_SORT_KEYS)!r}"
                if loop.time() >= when or essence != generation:
                    outcome = await self.look(service)
                    await self._say(client, service, outcome)
                    due[service.name] = (loop.time() + _ASK_SECONDS[outcome[0] == "True"], essence)
            names = {service.name for service in known}
            due = {name: entry for name, entry in due.items() if name in names}
            await asyncio.sleep(_LOOK_SECONDS)

    async def _all(self, client: Client) -> list[APIService]:
        try:
            return (await client.list(APIService)).items
        except ApiError as error:
            log.warning("the APIServices cannot be listed: %s", error.message)
            return []

    async def look(self, service: APIService) -> Outcome:
        """Whether the server of an APIService answers; what it serves is remembered."""
        group, version = service.spec.group, service.spec.version
        if service.spec.service is None or self._registered.is_local(group, version):
            return _LOCAL
        try:
            target = self._proxy.target(service)
        except ServiceUnavailable as error:
            self._registered.learn(group, version, Learned())
            return ("False", _why_no_target(error.message), error.message)
        path = f"/apis/{group}/{version}"
        try:
            listed = await self._ask(service, path)
            learned = Learned(entries_of(group, version, listed), await self._openapi(service, group, version))
        except (ApiError, TimeoutError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._registered.learn(group, version, Learned())
            reason = error.message if isinstance(error, ApiError) else str(error) or type(error).__name__
            message = f"failing or missing response from {target.url}{path}: {reason}"
            return ("False", "FailedDiscoveryCheck", message)
        self._registered.learn(group, version, learned)
        return _PASSED

    async def _openapi(self, service: APIService, group: str, version: str) -> str:
        try:
            index = await self._ask(service, "/openapi/v3")
            return str(index["paths"][f"apis/{group}/{version}"]["serverRelativeURL"])
        except (ApiError, TimeoutError, ValueError, TypeError, KeyError):
            return ""

    async def _ask(self, service: APIService, path: str) -> Any:
        request = Request("GET", path, headers={"accept": "application/json"})
        async with asyncio.timeout(_ANSWER_SECONDS):
            response = await self._proxy.forward(request, _ASKER, service)
            body = bytearray(response.body)
            if response.stream is not None:
                async for piece in response.stream:
                    body += piece
                    if len(body) > _LARGEST:
                        raise ServiceUnavailable(f"the answer is longer than {_LARGEST} bytes")
        if response.status != 200:
            raise ServiceUnavailable(f"bad status from {path}: {response.status}")
        return orjson.loads(body)

    async def _say(self, client: Client, service: APIService, outcome: Outcome) -> None:
        status, reason, message = outcome
        old = next((c for c in service.status.conditions if c.type == "Available"), None)
        if old is not None and (old.status, old.reason, old.message) == outcome:
            return
        since = old.last_transition_time if old is not None and old.status == status else timestamp()
        new = Condition(type="Available", status=status, reason=reason, message=message, last_transition_time=since)
        others = [c for c in service.status.conditions if c.type != "Available"]
        tree = {
            "metadata": {"uid": service.metadata.uid},
            "status": {"conditions": [to_tree(c) for c in (*others, new)]},
        }
        try:
            await client.patch(APIService, service.name, None, tree, subresource="status")
        except NotFound:
            return
        except ApiError as error:
            log.warning("%s: %s", service.name, error.message)


def _why_no_target(message: str) -> str:
    if "not found in namespace" in message:
        return "ServiceNotFound"
    return "ServicePortError" if "no service port" in message else "MissingEndpoints"
