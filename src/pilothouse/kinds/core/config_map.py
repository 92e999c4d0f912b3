"""ConfigMap."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.core.stored_data import MAX_BYTES, check_frozen, check_keys, encoded_size
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ConfigMap(Object):
    """`binary_data` values are base64 as in the API."""

    resource: ClassVar[Resource] = Resource("", "v1", "ConfigMap", "configmaps", True)

    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    immutable: bool | None = None


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    data, binary = section(obj, "data"), section(obj, "binaryData")
    check_keys(data, "data", problems)
    check_keys(binary, "binaryData", problems)
    for key in sorted(data.keys() & binary.keys()):
        problems.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(value.encode()) for value in data.values()) + encoded_size(binary, "binaryData", problems)
    if size > MAX_BYTES:
        problems.too_long("data", MAX_BYTES)
    if old is not None:
        check_frozen(obj, old, ("data", "binaryData"), problems)


KIND = Kind(
    view=ConfigMap,
    short_names=("cm",),
    columns=(
        NAME,
        Column(
            "Data",
            lambda obj: len(section(obj, "data")) + len(section(obj, "binaryData")),
            "Number of keys.",
        ),
        AGE,
    ),
    rules=_rules,
)
