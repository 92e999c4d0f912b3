"""Rules and columns that workloads with a selector and a pod template share."""

from __future__ import annotations

from pilothouse.kinds.columns import Column, selector_text
from pilothouse.kinds.core.pod_validation import check_template
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import from_label_selector


def check_selected_template(spec: Obj, old: Obj | None, when_empty: str, problems: Problems) -> None:
    """The selector is there, stays as it is, and selects the template, which is a valid one."""
    selector = spec.get("selector")
    template = section(spec, "template")
    if old is not None:
        problems.immutable("spec.selector", selector, old.get("selector"))
    if selector is None:
        problems.required("spec.selector")
    else:
        found = len(problems)
        check_label_selector(selector, "spec.selector", problems)
        labels = section(section(template, "metadata"), "labels")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            problems.invalid("spec.selector", selector, when_empty)
        elif len(problems) == found and not from_label_selector(selector).matches(labels):
            problems.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    # A template once accepted stays acceptable, so that a stricter rule never blocks scaling.
    if old is None or template != section(old, "template"):
        check_template(template, "spec.template", problems)


def selector_columns() -> tuple[Column, ...]:
    """The wide column Selector."""
    return (
        Column(
            "Selector",
            lambda obj: selector_text(section(obj, "spec").get("selector")),
            "Pods it looks after.",
            priority=1,
        ),
    )
