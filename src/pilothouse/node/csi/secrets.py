"""What a driver is told in confidence: a Secret's data, by a volume's reference, and tokens of the pod's account."""

from __future__ import annotations

from pilothouse.kinds.core.csi_volume import SecretReference
from pilothouse.kinds.core.pod import Pod, ServiceAccountTokenProjection
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.node.references import References
from pilothouse.node.volumes.payload import secret_files
from pilothouse.node.volumes.tokens import Tokens


async def secret_data(references: References, uid: str, reference: SecretReference | None) -> dict[str, str]:
    """The data of the Secret, nothing without a reference. Raises VolumeError when there is none, ApiError."""
    if reference is None:
        return {}
    found = await references.secret(uid, reference.namespace, reference.name)
    files = secret_files(f"{reference.namespace}/{reference.name}", found, (), None, False)
    return {key: file.content.decode(errors="surrogateescape") for key, file in files.items()}


async def token_texts(tokens: Tokens, pod: Pod, driver: CSIDriver | None) -> dict[str, dict[str, str]]:
    """The tokens a driver asks for by its `tokenRequests`, by audience, as TokenRequests tell them. Raises ApiError."""
    texts = {}
    for wish in driver.spec.token_requests if driver is not None else ():
        projection = ServiceAccountTokenProjection(audience=wish.audience, expiration_seconds=wish.expiration_seconds)
        token = await tokens.get(pod, projection)
        texts[wish.audience] = {"token": token.text, "expirationTimestamp": token.expires}
    return texts
