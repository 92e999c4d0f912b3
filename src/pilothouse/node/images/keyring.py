"""The credentials a pod's images are pulled with: its pull secrets, then what the node's credential helpers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilothouse.kinds.core.pod import Pod
from pilothouse.node.images.credentials import Credential, credentials_for
from pilothouse.node.images.reference import parse
from pilothouse.node.references import References, pull_secret_names

if TYPE_CHECKING:
    from pilothouse.node.images.providers import Providers


class Keyring:
    def __init__(self, references: References, providers: Providers | None = None) -> None:
        self._references = references
        self._providers = providers

    async def credentials(self, pod: Pod, image: str) -> list[Credential]:
        """The credentials to try, in order. Raises ApiError while the Secrets cannot be known."""
        secrets = [
            secret
            for name in pull_secret_names(pod)
            if (secret := await self._references.secret(pod.metadata.uid, pod.namespace, name)) is not None
        ]
        reference = parse(image)
        found = credentials_for(reference, secrets)
        if self._providers is not None:
            found += await self._providers.credentials(reference)
        return found
