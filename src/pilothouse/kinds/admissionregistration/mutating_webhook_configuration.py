"""MutatingWebhookConfiguration."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.webhook_rules import check_webhooks, default_webhooks
from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class MutatingWebhookConfiguration(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False
    )


KIND = Kind(
    view=MutatingWebhookConfiguration,
    categories=("api-extensions",),
    columns=(
        NAME,
        Column("Webhooks", lambda obj: len(obj.get("webhooks") or ()), "Webhooks in it.", type="integer"),
        AGE,
    ),
    generation_fields=("webhooks",),
    defaults=lambda obj: default_webhooks(obj, mutating=True),
    rules=lambda obj, old, problems: check_webhooks(obj, problems, mutating=True),
    bare_finalizers=True,
)
