"""What is wrong with an object, as causes of an `Invalid` error in the API's own wording.

Source of reasons and wording: `field.Error` of Kubernetes' apimachinery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from pilothouse.kinds.equality import same
from pilothouse.machinery.errors import Cause, Invalid
from pilothouse.machinery.objects import Obj, Resource

IMMUTABLE = "field is immutable"
POSITIVE = "must be greater than zero"
NOT_NEGATIVE = "must be greater than or equal to 0"


def shown(value: Any) -> str:
    """A value as it is printed in a message: text quoted, everything else as JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


class Problems(list[Cause]):
    """Collects causes; `path` is a field path such as `spec.containers[0].image`."""

    def required(self, path: str, detail: str = "") -> None:
        self.append(Cause(path, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value"))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self.append(Cause(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}"))

    def invalid_each(self, path: str, value: Any, details: Iterable[str]) -> None:
        """One `invalid` per message, for the rules in `machinery.names` that return several."""
        for detail in details:
            self.invalid(path, value, detail)

    def unsupported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """Supported values in a list are told in its order, as by some of upstream's rules; others are sorted."""
        listed = supported if isinstance(supported, list) else sorted(supported)
        known = ", ".join(shown(item) for item in listed)
        self.append(
            Cause(path, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {known}")
        )

    def one_of(self, path: str, value: Any, supported: Sequence[str] | frozenset[str], required: bool = True) -> None:
        """Reports a value that is missing (when required) or not among those supported."""
        if not value:
            if required:
                self.required(path)
        elif value not in supported:
            self.unsupported(path, value, supported)

    def duplicate(self, path: str, value: Any) -> None:
        self.append(Cause(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}"))

    def not_found(self, path: str, value: Any) -> None:
        self.append(Cause(path, "FieldValueNotFound", f"Not found: {shown(value)}"))

    def forbidden(self, path: str, detail: str) -> None:
        self.append(Cause(path, "FieldValueForbidden", f"Forbidden: {detail}"))

    def too_long(self, path: str, limit: int) -> None:
        self.append(Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes"))

    def too_many(self, path: str, count: int, limit: int) -> None:
        self.append(Cause(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items"))

    def not_negative(self, path: str, value: int | None) -> None:
        if value is not None and value < 0:
            self.invalid(path, value, NOT_NEGATIVE)

    def within(self, path: str, value: int | None, low: int, high: int) -> None:
        if value is not None and not low <= value <= high:
            self.invalid(path, value, f"must be between {low} and {high}, inclusive")

    def exactly_one(self, path: str, tree: Obj, known: Sequence[str], what: str) -> str | None:
        """Reports a union with no member or several; returns the member when it is one of those known."""
        given = [key for key in known if key in tree]
        if not given:
            self.required(path, f"must specify a {what}")
        for extra in given[1:]:
            self.forbidden(f"{path}.{extra}", f"may not specify more than 1 {what}")
        return given[0] if len(given) == 1 else None

    def immutable(self, path: str, new: Any, old: Any) -> None:
        if not same(new, old):
            self.invalid(path, new, IMMUTABLE)


def invalid_error(resource: Resource, name: str, causes: Sequence[Cause]) -> Invalid:
    """The 422 error for an object: `Deployment.apps "x" is invalid: spec.replicas: Invalid value: …`."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return Invalid(
        f"{qualified} {shown(name)} is invalid: {listed}",
        group=resource.group,
        kind=resource.kind,
        name=name,
        causes=causes,
    )


def section(tree: Obj, key: str) -> Obj:
    """The object at `key`, or an empty one."""
    found: Obj = tree.get(key) or {}
    return found
