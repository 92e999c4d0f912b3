"""Views of a pod's volumes: the sources Pilothouse can mount, and how keys become files."""

from __future__ import annotations

from pilothouse.kinds.core.csi_volume import CSIVolumeSource
from pilothouse.kinds.view import View
from pilothouse.machinery.objects import Obj


class ObjectFieldSelector(View):
    field_path: str = ""
    api_version: str = "v1"


class ResourceFieldSelector(View):
    resource: str = ""
    container_name: str = ""
    divisor: str = "0"


class KeyToPath(View):
    key: str = ""
    path: str = ""
    mode: int | None = None


class EmptyDirVolumeSource(View):
    medium: str = ""
    """Nothing for disk, `Memory`, or `HugePages` (with a size of page behind it, `HugePages-2Mi`)."""
    size_limit: str | None = None

    @property
    def in_memory(self) -> bool:
        """Whether it is a file system of its own that is gone after a reboot."""
        return bool(self.medium)


class HostPathVolumeSource(View):
    path: str = ""
    type: str = ""


class ConfigMapVolumeSource(View):
    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool | None = None


class SecretVolumeSource(View):
    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool | None = None


class DownwardAPIVolumeFile(View):
    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(View):
    items: list[DownwardAPIVolumeFile] = []
    default_mode: int | None = None


class ConfigMapProjection(View):
    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class SecretProjection(View):
    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class DownwardAPIProjection(View):
    items: list[DownwardAPIVolumeFile] = []


class ServiceAccountTokenProjection(View):
    path: str = ""
    audience: str = ""
    expiration_seconds: int | None = None


class VolumeProjection(View):
    """One source of a projected volume; exactly one field is set."""

    config_map: ConfigMapProjection | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardAPIProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(View):
    sources: list[VolumeProjection] = []
    default_mode: int | None = None


class PersistentVolumeClaimVolumeSource(View):
    claim_name: str = ""
    read_only: bool = False


class EphemeralVolumeSource(View):
    """A claim made for the pod and deleted with it; the template is a PersistentVolumeClaimTemplate tree."""

    volume_claim_template: Obj | None = None


class ImageVolumeSource(View):
    reference: str = ""
    pull_policy: str = ""


class Volume(View):
    """A named volume of a pod; exactly one source is set."""

    name: str = ""
    empty_dir: EmptyDirVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    image: ImageVolumeSource | None = None
    csi: CSIVolumeSource | None = None
