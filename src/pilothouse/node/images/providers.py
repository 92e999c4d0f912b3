"""Credential helpers: programs on the node that are asked for a registry's credentials when a pull needs them.

Source: Kubernetes, "Configure a kubelet image credential provider" (KEP-2133): configuration
`kubelet.config.k8s.io/v1`, exchange `credentialprovider.kubelet.k8s.io/v1`. What needs a service account's token
(`tokenAttributes`, KEP-4412) is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml

from pilothouse.kinds.families import split_host_port
from pilothouse.kinds.view import View
from pilothouse.machinery.durations import InvalidDuration, parse_duration
from pilothouse.node.images.credentials import Credential
from pilothouse.node.images.reference import Reference

log = logging.getLogger(__name__)

_CONFIG = ("kubelet.config.k8s.io/v1", "CredentialProviderConfig")
_EXCHANGE = "credentialprovider.kubelet.k8s.io/v1"
_SECONDS = 60.0
_MAX_OUTPUT = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


class InvalidProviders(ValueError):
    """The configuration cannot be used; the message names what is wrong."""


class Variable(View):
    name: str = ""
    value: str = ""


class ProviderConfig(View):
    name: str = ""
    match_images: list[str] = []
    default_cache_duration: str = ""
    api_version: str = ""
    args: list[str] = []
    env: list[Variable] = []
    token_attributes: object = None


class _File(View):
    api_version: str = ""
    kind: str = ""
    providers: list[ProviderConfig] = []


class _Auth(View):
    username: str = ""
    password: str = ""


class _Answer(View):
    api_version: str = ""
    kind: str = ""
    cache_key_type: str = ""
    cache_duration: str | None = None
    auth: dict[str, _Auth] | None = None


@dataclass(slots=True)
class _Provider:
    config: ProviderConfig
    program: Path
    cache_seconds: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    cache: dict[str, tuple[float, Mapping[str, _Auth]]] = field(default_factory=dict)
    """What was answered, and until when it holds, by the image, its registry, or "" for all."""


class Providers:
    """The configured helpers, in their order."""

    def __init__(self, configs: list[ProviderConfig], directory: Path) -> None:
        """Raises InvalidProviders."""
        self._providers = [_provider(config, directory) for config in configs]
        names = [config.name for config in configs]
        for name in names:
            if names.count(name) > 1:
                raise InvalidProviders(f"provider {name!r} is named twice")

    async def credentials(self, image: Reference) -> list[Credential]:
        """What the helpers whose `matchImages` fit say; one that fails is told in the log and left out."""
        found: list[tuple[int, Credential]] = []
        for provider in self._providers:
            if not any(matches(pattern, image) for pattern in provider.config.match_images):
                continue
            try:
                auth = await self._ask(provider, image)
            except (OSError, ValueError, TimeoutError) as error:
                log.warning("credential provider %s, asked for %s: %s", provider.config.name, image.name, error)
                continue
            found += [
                (len(pattern), Credential(entry.username, entry.password))
                for pattern, entry in auth.items()
                if matches(pattern, image)
            ]
        return [credential for _, credential in sorted(found, key=lambda pair: -pair[0])]

    async def _ask(self, provider: _Provider, image: Reference) -> Mapping[str, _Auth]:
        async with provider.lock:
            now = time.monotonic()
            provider.cache = {key: held for key, held in provider.cache.items() if held[0] > now}
            for key in (image.name, image.host, ""):
                if key in provider.cache:
                    return provider.cache[key][1]
            answer = await _run(provider, image)
            seconds = provider.cache_seconds
            if answer.cache_duration is not None:
                seconds = parse_duration(answer.cache_duration)
            keys = {"Image": image.name, "Registry": image.host, "Global": ""}
            if answer.cache_key_type not in keys:
                raise ValueError(f"cacheKeyType {answer.cache_key_type!r} is not one of {', '.join(keys)}")
            auth = answer.auth or {}
            if seconds > 0:
                provider.cache[keys[answer.cache_key_type]] = now + seconds, auth
            return auth


def load(config: Path, directory: Path) -> Providers:
    """The helpers of a configuration file, whose programs are in a directory. Raises InvalidProviders, OSError."""
    try:
        found = msgspec.convert(yaml.load(config.read_bytes(), yaml.CSafeLoader), _File)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidProviders(f"{config}: {' '.join(str(error).split())}") from error
    if (found.api_version, found.kind) != _CONFIG:
        raise InvalidProviders(f"{config}: it has to be a {' '.join(_CONFIG)}, not {found.api_version} {found.kind}")
    try:
        return Providers(found.providers, directory)
    except InvalidProviders as error:
        raise InvalidProviders(f"{config}: {error}") from error


def matches(pattern: str, image: Reference) -> bool:
    """Whether a pattern fits an image: as many parts of the host, each matched for itself; the port; the path's
    beginning."""
    location = pattern.removeprefix("https://").removeprefix("http://")
    host, _, path = location.partition("/")
    name, port = split_host_port(host)
    image_name, image_port = split_host_port(image.host)
    parts, image_parts = name.split("."), image_name.split(".")
    same_host = len(parts) == len(image_parts) and all(map(fnmatch.fnmatchcase, image_parts, parts))
    return same_host and port == image_port and image.path.startswith(path.rstrip("/"))


def _provider(config: ProviderConfig, directory: Path) -> _Provider:
    name = config.name
    if not _NAME.fullmatch(name):
        raise InvalidProviders(f"provider name {name!r} is no file name")
    if not config.match_images:
        raise InvalidProviders(f"provider {name}: matchImages is empty")
    if config.api_version != _EXCHANGE:
        raise InvalidProviders(f"provider {name}: apiVersion has to be {_EXCHANGE}")
    if config.token_attributes is not None:
        raise InvalidProviders(f"provider {name}: tokenAttributes are not supported yet")
    try:
        seconds = parse_duration(config.default_cache_duration)
    except InvalidDuration as error:
        raise InvalidProviders(f"provider {name}: defaultCacheDuration: {error}") from error
    program = directory / name
    if not os.access(program, os.X_OK):
        raise InvalidProviders(f"provider {name}: there is no program {program}")
    return _Provider(config, program, seconds)


async def _run(provider: _Provider, image: Reference) -> _Answer:
    request = {"apiVersion": _EXCHANGE, "kind": "CredentialProviderRequest", "image": image.name}
    process = await asyncio.create_subprocess_exec(
        provider.program,
        *provider.config.args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_MAX_OUTPUT,
        env={**os.environ, **{variable.name: variable.value for variable in provider.config.env}},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, errors = await process.communicate(msgspec.json.encode(request))
    except TimeoutError:
        raise TimeoutError(f"it did not answer within {_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip()[-300:]
        raise OSError(f"it ended with {process.returncode}: {said}")
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except msgspec.DecodeError:
        raise ValueError("what it printed is no CredentialProviderResponse") from None
    if (answer.api_version, answer.kind) != (_EXCHANGE, "CredentialProviderResponse"):
        raise ValueError(f"it answered with {answer.api_version} {answer.kind}")
    return answer
