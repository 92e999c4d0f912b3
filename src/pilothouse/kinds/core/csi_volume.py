"""Volumes of CSI drivers, as PersistentVolumes and pods name them.

Source: `validateCSIPersistentVolumeSource`, `validateCSIVolumeSource` and `ValidateCSIDriverName` of Kubernetes' core
validation.
"""

from __future__ import annotations

from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_DRIVER_MOST = 63
_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodeStageSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)


class SecretReference(View):
    name: str = ""
    namespace: str = ""


class CSIPersistentVolumeSource(View):
    """`volume_handle` is what the driver knows the volume by; `volume_attributes` are the driver's own words."""

    driver: str = ""
    volume_handle: str = ""
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = {}
    node_stage_secret_ref: SecretReference | None = None
    node_publish_secret_ref: SecretReference | None = None
    node_expand_secret_ref: SecretReference | None = None


class LocalObjectReference(View):
    name: str = ""


class CSIVolumeSource(View):
    """A volume that the driver makes for the pod and that ends with it."""

    driver: str = ""
    read_only: bool | None = None
    fs_type: str | None = None
    volume_attributes: dict[str, str] = {}
    node_publish_secret_ref: LocalObjectReference | None = None


def check_driver_name(name: str, path: str, problems: Problems) -> None:
    if not name:
        problems.required(path)
    if len(name) > _DRIVER_MOST:
        problems.too_long(path, _DRIVER_MOST)
    problems.invalid_each(path, name, names.dns1123_subdomain(name.lower()))


def check_persistent_source(source: Obj, path: str, problems: Problems) -> None:
    check_driver_name(source.get("driver") or "", f"{path}.driver", problems)
    if not source.get("volumeHandle"):
        problems.required(f"{path}.volumeHandle")
    for key in _SECRETS:
        reference = source.get(key)
        if reference is None:
            continue
        for part, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
            value = reference.get(part) or ""
            if not value:
                problems.required(f"{path}.{key}.{part}")
            else:
                problems.invalid_each(f"{path}.{key}.{part}", value, rule(value))


def check_inline_source(source: Obj, path: str, problems: Problems) -> None:
    check_driver_name(source.get("driver") or "", f"{path}.driver", problems)
    reference = source.get("nodePublishSecretRef")
    if reference is not None:
        name = reference.get("name") or ""
        if not name:
            problems.required(f"{path}.nodePublishSecretRef.name")
        else:
            problems.invalid_each(f"{path}.name", name, names.dns1123_subdomain(name))
