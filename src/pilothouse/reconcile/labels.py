"""Label selectors over typed views."""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.kinds.view import LabelSelector
from pilothouse.machinery.selectors import from_label_selector


def matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """True if `labels` satisfy the selector. None matches nothing, an empty selector everything (API conventions)."""
    if selector is None:
        return False
    if not selector.match_expressions:
        return selector.match_labels.items() <= labels.items()
    return from_label_selector(selector).matches(labels)
