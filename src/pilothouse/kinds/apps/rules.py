"""Rules and columns that workloads with a selector and a pod template share."""

from __future__ import annotations

import re

from pilothouse.kinds.columns import Column, selector_text
from pilothouse.kinds.core.pod_validation import check_template
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import from_label_selector

_PERCENT = re.compile("([0-9]+)%")
_PERCENT_MESSAGE = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def check_selected_template(spec: Obj, old: Obj | None, when_empty: str, problems: Problems) -> None:
    """The selector is there, stays as it is, and selects the template, which is a valid one."""
    if not check_selector(spec, old, when_empty, problems):
        problems.invalid("spec.selector", shown_selector(spec), "invalid label selector")
        return
    # A template once accepted stays acceptable, so that a stricter rule never blocks scaling.
    template = section(spec, "template")
    if old is None or template != section(old, "template"):
        check_template(template, "spec.template", problems)


def shown_selector(spec: Obj) -> Obj:
    """A spec's selector as upstream prints it, without what is empty."""
    return {key: value for key, value in section(spec, "selector").items() if value}


def check_selector(spec: Obj, old: Obj | None, when_empty: str, problems: Problems) -> bool:
    """The selector is there, stays what it was in `old`, and selects the template's labels; False when it is none."""
    selector = spec.get("selector")
    if old is not None:
        problems.immutable("spec.selector", selector, old.get("selector"))
    labels = section(section(spec, "template"), "metadata").get("labels")
    mismatch = "`selector` does not match template `labels`"
    if selector is None:
        problems.required("spec.selector")
        problems.invalid("spec.template.metadata.labels", labels, mismatch)
        return True
    found = len(problems)
    check_label_selector(selector, "spec.selector", problems)
    if len(problems) > found:
        return False
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        problems.invalid("spec.selector", shown_selector(spec), when_empty)
    elif not from_label_selector(selector).matches(labels or {}):
        problems.invalid("spec.template.metadata.labels", labels, mismatch)
    return True


def check_template_of(kind: str, template: Obj, problems: Problems) -> None:
    """A template of that kind of workload: as any, but what is refused is told in the kind's own name."""
    path = "spec.template"
    pod = section(template, "spec")
    limited = "activeDeadlineSeconds" in pod
    if limited:
        template = {**template, "spec": {key: pod[key] for key in pod if key != "activeDeadlineSeconds"}}
    check_template(template, path, problems)
    if limited:
        problems.forbidden(f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")


def check_amount(amount: int | str, path: str, problems: Problems) -> int | None:
    """The number in a count or percentage, None when it is neither."""
    if isinstance(amount, int):
        problems.not_negative(path, amount)
        return amount
    match = _PERCENT.fullmatch(amount)
    if match is None:
        problems.invalid(path, amount, _PERCENT_MESSAGE)
        return None
    return int(match[1])


def check_rolling(rolling: Obj, path: str, problems: Problems) -> tuple[int, int]:
    """`maxUnavailable` and `maxSurge`; what is neither a number nor a percentage counts as 0, as upstream's."""
    unavailable = check_amount(rolling.get("maxUnavailable", 0), f"{path}.maxUnavailable", problems)
    surge = check_amount(rolling.get("maxSurge", 0), f"{path}.maxSurge", problems)
    return unavailable or 0, surge or 0


def check_share(rolling: Obj, key: str, path: str, problems: Problems) -> None:
    """Not more than all."""
    match = _PERCENT.fullmatch(rolling[key]) if isinstance(rolling.get(key), str) else None
    if match is not None and int(match[1]) > 100:
        problems.invalid(f"{path}.{key}", rolling[key], "must not be greater than 100%")


def ready_of_wanted(obj: Obj) -> str:
    """The column Ready: `2/3`."""
    return f"{section(obj, 'status').get('readyReplicas', 0)}/{section(obj, 'spec').get('replicas', 0)}"


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
