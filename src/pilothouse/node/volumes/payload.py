"""What files a volume made of API objects holds: path to content and mode. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import DownwardAPIVolumeFile, KeyToPath, Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.node.environment import Sources, UnmetReference, field_value, resource_value

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int


Payload: TypeAlias = dict[str, File]


class VolumeError(Exception):
    """A volume cannot be set up; the message goes into the FailedMount event."""


def config_map_files(
    name: str, config_map: ConfigMap | None, items: Iterable[KeyToPath], mode: int | None, optional: bool
) -> Payload:
    """Files of a ConfigMap. Raises VolumeError when it or a key is missing and not optional."""
    if config_map is None:
        if optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    data = {key: value.encode() for key, value in config_map.data.items()}
    data |= {key: base64.b64decode(value) for key, value in config_map.binary_data.items()}
    return _files(f'configmap "{name}"', data, items, mode, optional)


def secret_files(
    name: str, secret: Secret | None, items: Iterable[KeyToPath], mode: int | None, optional: bool
) -> Payload:
    """Files of a Secret. Raises VolumeError as for ConfigMaps."""
    if secret is None:
        if optional:
            return {}
        raise VolumeError(f'secret "{name}" not found')
    data = {key: base64.b64decode(value) for key, value in secret.data.items()}
    return _files(f'secret "{name}"', data, items, mode, optional)


def _files(
    what: str, data: Mapping[str, bytes], items: Iterable[KeyToPath], mode: int | None, optional: bool
) -> Payload:
    default = DEFAULT_MODE if mode is None else mode
    chosen = list(items)
    if not chosen:
        return {key: File(value, default) for key, value in data.items()}
    payload: Payload = {}
    for item in chosen:
        if item.key not in data:
            if optional:
                continue
            raise VolumeError(f"{what} references non-existent config key: {item.key}")
        payload[_safe(item.path)] = File(data[item.key], default if item.mode is None else item.mode)
    return payload


def downward_files(pod: Pod, items: Iterable[DownwardAPIVolumeFile], mode: int | None, sources: Sources) -> Payload:
    """Files that tell a pod about itself."""
    default = DEFAULT_MODE if mode is None else mode
    payload: Payload = {}
    for item in items:
        try:
            if item.field_ref is not None:
                text = field_value(pod, item.field_ref.field_path, sources)
            elif item.resource_field_ref is not None:
                text = resource_value(pod, item.resource_field_ref, sources)
            else:
                raise VolumeError(f"downwardAPI item {item.path}: neither fieldRef nor resourceFieldRef")
        except UnmetReference as error:
            raise VolumeError(f"downwardAPI item {item.path}: {error}") from error
        payload[_safe(item.path)] = File(text.encode(), default if item.mode is None else item.mode)
    return payload


def _safe(path: str) -> str:
    parts = path.split("/")
    if path.startswith(("/", "..")) or ".." in parts or "" in parts:
        raise VolumeError(f"path {path!r} must be relative and without '..'")
    return path
