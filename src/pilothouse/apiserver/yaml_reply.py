"""Answers in YAML, for clients that ask for it first. JSON is what is stored and sent to all others, as it is.

Only what is small enough is written so: YAML takes a hundred times as long as JSON to write.
"""

from __future__ import annotations

import asyncio

import orjson

from pilothouse.apiserver.accept import JSON, media_types
from pilothouse.client.wire import Request, Response

YAML = "application/yaml"
LIMIT = 1 << 20
"""Bytes of JSON; a longer answer stays as it is, which its content type says."""


def wanted(request: Request) -> bool:
    """Whether the client prefers YAML."""
    accept = request.headers.get("accept", "")
    return YAML in accept and media_types(accept)[0].type == YAML


async def in_yaml(response: Response) -> Response:
    """The same answer in YAML, if it is a JSON document and not too long."""
    if response.headers.get("content-type") != JSON:
        return response
    if response.stream is None and response.body and len(response.body) <= LIMIT:
        response.body = await asyncio.to_thread(_converted, response.body)
        response.headers["content-type"] = YAML
    return response


def _converted(body: bytes) -> bytes:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(orjson.loads(body), Dumper=dumper, allow_unicode=True)
    return text.encode()
