"""Waiting until a volume is attached to the node, where its driver needs that.

The attach controller makes the VolumeAttachment, and the driver's own attacher says in its status that it is done.
A node may only get attachments by name, so they are asked for again and again.
"""

from __future__ import annotations

import asyncio
import time

from pilothouse.client.client import Client
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.errors import Forbidden
from pilothouse.node.csi.paths import Record
from pilothouse.node.volumes.payload import VolumeError

_PATIENCE = 120.0
_PAUSE_FIRST, _PAUSE_MOST = 0.1, 2.0


async def attached(client: Client, record: Record) -> dict[str, str]:
    """What the attacher tells the driver on this node. Raises VolumeError when it is not attached in good time."""
    until, pause = time.monotonic() + _PATIENCE, _PAUSE_FIRST
    while True:
        attachment = await _find(client, record.attachment)
        problem = _problem(attachment, record)
        if not problem and attachment is not None:
            return attachment.status.attachment_metadata
        if time.monotonic() >= until or (attachment is not None and attachment.status.attach_error is not None):
            raise VolumeError(problem)
        await asyncio.sleep(pause)
        pause = min(_PAUSE_MOST, pause * 2)


async def _find(client: Client, name: str) -> VolumeAttachment | None:
    try:
        return await client.find(VolumeAttachment, name)
    except Forbidden:  # a node may not even know of what is not its own, or not there
        return None


def _problem(attachment: VolumeAttachment | None, record: Record) -> str:
    what = f"volume {record.handle} of driver {record.driver}"
    if attachment is None:
        return f"{what} is not attached to this node: there is no VolumeAttachment {record.attachment} yet"
    if attachment.metadata.deletion_timestamp is not None:
        return f"{what} is being detached from this node (VolumeAttachment {record.attachment})"
    if attachment.status.attached:
        return ""
    if attachment.status.attach_error is not None:
        return f"{what} cannot be attached: {attachment.status.attach_error.message}"
    return f"{what} is not attached yet: the driver's attacher has not answered VolumeAttachment {record.attachment}"
