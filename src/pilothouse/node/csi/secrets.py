"""What a driver is told in confidence: a Secret's data, by the reference of a volume."""

from __future__ import annotations

from pilothouse.kinds.core.csi_volume import SecretReference
from pilothouse.node.references import References
from pilothouse.node.volumes.payload import secret_files


async def secret_data(references: References, uid: str, reference: SecretReference | None) -> dict[str, str]:
    """The data of the Secret, nothing without a reference. Raises VolumeError when there is none, ApiError."""
    if reference is None:
        return {}
    found = await references.secret(uid, reference.namespace, reference.name)
    files = secret_files(f"{reference.namespace}/{reference.name}", found, (), None, False)
    return {key: file.content.decode(errors="surrogateescape") for key, file in files.items()}
