"""How volumes of CSI drivers are named, and which are attached, as the attach controller, the scheduler and nodes must
agree on it. Pure.

Source: the CSI plugin of Kubernetes (`getAttachmentName`, `GetUniqueVolumeNameFromSpec`, `skipAttach`).
"""

from __future__ import annotations

import hashlib

from pilothouse.kinds.storage.csi_driver import CSIDriver


def attachment_name(handle: str, driver: str, node: str) -> str:
    """The name of the VolumeAttachment that ties a volume to a node."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def unique_name(driver: str, handle: str) -> str:
    """How a Node's status names the volume."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def needs_attaching(driver: CSIDriver | None) -> bool:
    """Whether a driver's volumes are attached before they are mounted; one that has no CSIDriver needs it."""
    return driver is None or driver.spec.attach_required
