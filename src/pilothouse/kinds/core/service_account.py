"""ServiceAccount."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
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
    columns=(NAME, Column("Secrets", lambda obj: len(obj.get("secrets") or ()), "Number of listed secrets."), AGE),
    returns_deleted=True,
)
