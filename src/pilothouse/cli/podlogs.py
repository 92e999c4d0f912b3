"""Reading logs of pods through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pilothouse.client.client import Client
from pilothouse.client.wire import raise_for_status
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ApiError


async def lines(client: Client, namespace: str, pod: str, query: list[tuple[str, str]]) -> AsyncIterator[str]:
    """The lines of a container's log, as they come when `follow` is in the query. Raises ApiError."""
    import orjson

    response = await client.send("GET", Pod.resource.path(namespace, pod, "log"), query=query, accept="*/*")
    raise_for_status(response, orjson.loads)
    if response.stream is None:
        for line in response.body.decode("utf-8", "replace").splitlines():
            yield line
        return
    rest = b""
    async for chunk in response.stream:
        *whole, rest = (rest + chunk).split(b"\n")
        for line_ in whole:
            yield line_.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


async def last_lines(client: Client, namespace: str, pod: str, container: str, count: int) -> list[str]:
    """The last lines a container wrote, of the run before where this one has none; empty when there is no log."""
    for previous in ("false", "true"):
        query = [("container", container), ("tailLines", str(count)), ("previous", previous)]
        try:
            found = [line async for line in lines(client, namespace, pod, query)]
        except ApiError:
            continue
        if found:
            return found
    return []
