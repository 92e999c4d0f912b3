"""Secret."""

from __future__ import annotations

import base64
from typing import ClassVar

import orjson

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.core.stored_data import MAX_BYTES, check_frozen, check_keys, encoded_size
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class Secret(Object):
    """`data` values are base64 as in the API; `string_data` is write-only."""

    resource: ClassVar[Resource] = Resource("", "v1", "Secret", "secrets", True)

    type: str = "Opaque"
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    immutable: bool | None = None


SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_NEEDED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = (".dockercfg", ".dockerconfigjson")


def _defaults(obj: Obj) -> None:
    if not obj.get("type"):
        obj["type"] = "Opaque"
    # Write-only: plain values, which win over encoded ones of the same key.
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**section(obj, "data"), **encoded}


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    data = section(obj, "data")
    check_keys(data, "data", problems)
    if encoded_size(data, "data", problems) > MAX_BYTES:
        problems.too_long("data", MAX_BYTES)
    _check_type(obj, data, problems)
    if old is not None:
        problems.immutable("type", obj.get("type"), old.get("type"))
        check_frozen(obj, old, ("data",), problems)


def _check_type(obj: Obj, data: Obj, problems: Problems) -> None:
    kind = obj.get("type") or ""
    if kind == SERVICE_ACCOUNT_TOKEN:
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(_ACCOUNT_NAME):
            problems.required(f"metadata.annotations[{_ACCOUNT_NAME}]")
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        problems.required("data[username]")
        problems.required("data[password]")
    for key in _NEEDED_KEYS.get(kind, ()):
        if key not in data:
            problems.required(f"data[{key}]")
        elif key in _JSON_KEYS:
            _check_json(data[key], f"data[{key}]", problems)


def _check_json(value: str, path: str, problems: Problems) -> None:
    try:
        orjson.loads(base64.b64decode(value))
    except ValueError as error:
        problems.invalid(path, "<secret contents redacted>", f"must be JSON: {error}")


KIND = Kind(
    view=Secret,
    columns=(
        NAME,
        Column("Type", field("type"), "What the secret is for."),
        Column("Data", lambda obj: len(section(obj, "data")), "Number of keys."),
        AGE,
    ),
    defaults=_defaults,
    rules=_rules,
    fields=lambda obj: {"type": obj.get("type") or ""},
)
