"""The images on this node: looked up once, pulled once however many ask, failures told so that a person can act."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pilothouse.kinds.families import join_host_port
from pilothouse.node.cri import Runtime, RuntimeFailure, RuntimeMissing, RuntimeTimeout
from pilothouse.node.images.credentials import Credential
from pilothouse.node.images.reference import Reference, parse
from pilothouse.node.security import ImageUser
from pilothouse.node.wire import cri_pb2 as cri

log = logging.getLogger(__name__)

PULL_TIMEOUT = 3600.0
_SUSPECT_AFTER = 4.0
"""Seconds a pull may go without receiving anything before its registry is tried directly."""
_CONNECT_TIMEOUT = 5.0
_UNREACHABLE = (
    "no such host",
    "connection refused",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "host unreachable",
    "server misbehaving",
    "TLS handshake timeout",
    "server gave HTTP response to HTTPS client",
)
_CORRUPT = (
    "unexpected commit digest",
    "unexpected commit size",
    "failed size validation",
    "mismatched image rootfs",
    "gzip: invalid",
    "archive/tar: invalid",
    "invalid tar header",
    "unexpected EOF",
    "invalid checksum digest",
)
"""What containerd says of layers and manifests that are not what they claim to be."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as the node has it."""

    id: str
    ref: str
    """`name@sha256:…` when it came from a registry, else its id."""
    user: ImageUser
    size_bytes: int


class PullFailed(Exception):
    """Why an image cannot be had; `reason` is the container's waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


Progress = Callable[[], Awaitable[tuple[int, int]]]
"""Bytes received and bytes expected of all downloads under way."""


class ImageStore:
    """Finds and pulls images through CRI."""

    def __init__(
        self, runtime: Runtime, certs_dir: str, progress: Progress, parallel: int = 4, architecture: str = "amd64"
    ) -> None:
        self._architecture = architecture
        self._runtime = runtime
        self._certs_dir = certs_dir
        self.progress = progress
        self._known: dict[str, ImageInfo] = {}
        self._pulls: dict[tuple[str, tuple[Credential, ...]], asyncio.Task[ImageInfo]] = {}
        self._slots = asyncio.Semaphore(parallel)
        self.last_used: dict[str, float] = {}

    @property
    def pulls_under_way(self) -> int:
        return len(self._pulls)

    def forget(self, reference: str = "") -> None:
        """Drops what is remembered (all of it without a reference): an image was removed or replaced."""
        if reference:
            self._known.pop(reference, None)
        else:
            self._known.clear()

    async def find(self, reference: str) -> ImageInfo | None:
        """The image if it is on the node."""
        known = self._known.get(reference)
        if known is None:
            image, _ = await self._runtime.image_status(reference)
            if image is None:
                return None
            known = self._known[reference] = describe(image, reference)
        self.last_used[known.id] = time.time()
        return known

    async def pull(self, reference: str, credentials: Sequence[Credential]) -> ImageInfo:
        """Pulls, or joins the pull of the same image that is under way. Raises PullFailed."""
        key = (reference, tuple(credentials))
        task = self._pulls.get(key)
        if task is None:
            task = self._pulls[key] = asyncio.create_task(self._pull(reference, credentials))
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
        return await asyncio.shield(task)

    async def _pull(self, reference: str, credentials: Sequence[Credential]) -> ImageInfo:
        parsed = parse(reference)
        async with self._slots:
            failure: RuntimeFailure | None = None
            for credential in credentials or (None,):
                try:
                    pulled = await self._attempt(parsed, reference, credential)
                except RuntimeFailure as error:
                    failure = error
                    continue
                self._known.pop(reference, None)
                found = await self.find(reference) or await self.find(pulled)
                if found is None:
                    raise PullFailed("ErrImagePull", f'image "{reference}" was pulled and is not there')
                self._known[reference] = found
                return found
        assert failure is not None
        raise PullFailed("ErrImagePull", self._explain(parsed, reference, failure))

    async def _attempt(self, parsed: Reference, reference: str, credential: Credential | None) -> str:
        auth = None
        if credential is not None:
            auth = cri.AuthConfig(
                username=credential.username,
                password=credential.password,
                identity_token=credential.identity_token,
                registry_token=credential.registry_token,
            )
        pull = asyncio.create_task(self._runtime.pull_image(reference, auth, PULL_TIMEOUT))
        try:
            done, _ = await asyncio.wait({pull}, timeout=_SUSPECT_AFTER)
            if not done and not await self._receiving():
                await self._try_registry(parsed)
            return await pull
        finally:
            pull.cancel()

    async def _receiving(self) -> bool:
        received, expected = await self.progress()
        return received > 0 or expected > 0

    async def _try_registry(self, parsed: Reference) -> None:
        """The runtime waits long for a registry that does not answer; this finds out sooner."""
        if await asyncio.to_thread(os.path.exists, os.path.join(self._certs_dir, parsed.host, "hosts.toml")):
            return
        host, port = parsed.endpoint
        where = join_host_port(host, port)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
        except TimeoutError:
            raise RuntimeFailure("PullImage", f"dial tcp {where}: i/o timeout") from None
        except OSError as error:
            raise RuntimeFailure("PullImage", f"dial tcp {where}: no such host or {error}") from None

    def _explain(self, parsed: Reference, reference: str, error: RuntimeFailure) -> str:
        text = error.message
        if isinstance(error, RuntimeTimeout):
            return f'pulling image "{reference}" took longer than {PULL_TIMEOUT / 60:.0f} minutes'
        if "no match for platform" in text:
            return (
                f'image "{reference}" has no variant for this machine\'s architecture (linux/{self._architecture}): '
                f"build it for that too, or choose another image: {text}"
            )
        if any(sign in text for sign in _CORRUPT):
            return (
                f'a layer of image "{reference}" is corrupt: what registry {parsed.host} sends is not what its '
                f"manifest says; push the image again: {text}"
            )
        if isinstance(error, RuntimeMissing) or "not found" in text:
            return f'image "{reference}" does not exist in registry {parsed.host} (wrong name or tag?): {text}'
        if "401" in text or "403" in text or "authorization failed" in text:
            return f'registry {parsed.host} refuses access to "{reference}": check imagePullSecrets: {text}'
        if any(sign in text for sign in _UNREACHABLE):
            return (
                f"registry {parsed.host} cannot be reached: {text.splitlines()[-1][-300:]}; check the network, or name "
                f'a mirror in {self._certs_dir}/{parsed.host}/hosts.toml (a line [host."https://MIRROR"])'
            )
        return f'failed to pull image "{reference}": {text}'


def describe(image: cri.Image, reference: str = "") -> ImageInfo:
    """What is to be known of an image; of several digests, that of the name it was asked by."""
    ref = image.id
    try:
        name = parse(reference).name if reference and not reference.startswith("sha256:") else ""
    except ValueError:
        name = ""
    digests = [digest for digest in image.repo_digests if not name or digest.startswith(name + "@")]
    if digests or image.repo_digests:
        ref = (digests or list(image.repo_digests))[0]
    user = ImageUser(image.uid.value if image.HasField("uid") else None, image.username)
    return ImageInfo(image.id, ref, user, image.size)
