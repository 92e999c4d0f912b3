"""PodTemplate."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pilothouse.kinds.columns import NAME, Column, container_columns, pairs
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.core.pod_validation import check_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class PodTemplate(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "PodTemplate", "podtemplates", True)


def _defaults(obj: Obj) -> None:
    default_template(obj.setdefault("template", {}))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    template = section(obj, "template")
    if old is None or template != section(old, "template"):
        check_template(template, "template", problems)


KIND = Kind(
    view=PodTemplate,
    columns=(
        NAME,
        *(replace(column, priority=0) for column in container_columns("template")),
        Column(
            "Pod Labels",
            lambda obj: pairs(section(section(section(obj, "template"), "metadata"), "labels")),
            "Labels of the template.",
        ),
    ),
    generation_fields=("template",),
    defaults=_defaults,
    rules=_rules,
    returns_deleted=True,
)
