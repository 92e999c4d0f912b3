"""ServiceAccount."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.core.pod_spec import LocalObjectReference
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class SecretReference(View):
    name: str = ""


class ServiceAccount(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "ServiceAccount", "serviceaccounts", True)

    secrets: list[SecretReference] = []
    image_pull_secrets: list[LocalObjectReference] = []
    automount_service_account_token: bool | None = None


KIND = Kind(
    view=ServiceAccount,
    short_names=("sa",),
    subresources=frozenset({"token"}),
    returns_deleted=True,
)
