"""ValidatingWebhookConfiguration."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.webhook_rules import check_webhooks, default_webhooks
from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class ValidatingWebhookConfiguration(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
    )


KIND = Kind(
    view=ValidatingWebhookConfiguration,
    categories=("api-extensions",),
    columns=(
        NAME,
        Column("Webhooks", lambda obj: len(obj.get("webhooks") or ()), "Webhooks in it.", type="integer"),
        AGE,
    ),
    generation_fields=("webhooks",),
    defaults=lambda obj: default_webhooks(obj, mutating=False),
    rules=lambda obj, old, problems: check_webhooks(obj, problems, mutating=False),
    bare_finalizers=True,
)
