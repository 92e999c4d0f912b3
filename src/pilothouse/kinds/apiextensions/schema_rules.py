"""What the schema of a custom resource must be like: structural, within bounds, its defaults valid.

Source of rules and wording: `apiextensions-apiserver/pkg/apiserver/schema` (structural schemas and their defaults) and
`pkg/apis/apiextensions/validation` (what OpenAPI allows and Kubernetes does not).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pilothouse.kinds.apiextensions.validation_rules import check_rules
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.patterns import InvalidPattern, check_pattern
from pilothouse.machinery.structural_prune import shape
from pilothouse.machinery.structural_schema import ABSENT, DEPTH_LIMIT, Structural, TooDeep
from pilothouse.machinery.structural_validate import validate

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_META: Final = ("metadata", "kind", "apiVersion")
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_LIST_TYPE, _LIST_KEYS, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"
_INT_OR_STRING_ANY_OF: Final = [{"type": "integer"}, {"type": "string"}]
_UNSUPPORTED: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_AT_ROOT: Final = frozenset(
    {
        "$schema",
        "description",
        "example",
        "externalDocs",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-validations",
        _PRESERVE,
    }
)
_LEVEL: Final = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
_FORBIDDEN_NESTED: Final = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (_PRESERVE, "must be false to be structural"),
    (_EMBEDDED, "must be false to be structural"),
    (_INT_OR_STRING, "must be false to be structural"),
    (_LIST_KEYS, "must be empty to be structural"),
    (_LIST_TYPE, "must be undefined to be structural"),
    (_MAP_TYPE, "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


class _Place(NamedTuple):
    """Where in a schema a walk is."""

    level: str = "root"
    in_meta: bool = False
    no_defaults: str = ""
    depth: int = 0


def check_schema(schema: Obj, path: str, has_status: bool, problems: Problems) -> None:
    """Reports what is wrong with `openAPIV3Schema`."""
    before = len(problems)
    if has_status:
        _check_root(schema, path, problems)
    if schema.get("nullable"):
        problems.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    _check(schema, path, _Place(), problems)
    if len(problems) > before:
        return
    try:
        built = Structural(schema)
    except TooDeep as error:
        problems.invalid(path, "", str(error))
        return
    _check_defaults(built, path, problems)
    if len(problems) == before:
        check_rules(schema, built, path, problems)


def _check_root(schema: Obj, path: str, problems: Problems) -> None:
    if schema.get("type", "object") != "object":
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        problems.invalid(f"{path}.type", schema["type"], why)
    extra = sorted(key for key in schema if key not in _AT_ROOT and schema[key] not in (None, False, "", [], {}))
    if extra:
        allowed = " ".join(sorted(_AT_ROOT))
        why = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
        problems.invalid(path, extra, why)


def _check(schema: Any, path: str, place: _Place, problems: Problems) -> None:
    if not isinstance(schema, dict):
        problems.invalid(path, schema, "must be a schema object")
        return
    if place.depth > DEPTH_LIMIT:
        problems.invalid(path, "", f"must not be nested deeper than {DEPTH_LIMIT} levels")
        return
    if not _check_keywords(schema, path, problems):
        return
    _check_openapi(schema, path, place, problems)
    _check_structure(schema, path, place, problems)
    _check_lists(schema, path, problems)
    skip = _skipped(schema)
    for where, nested in _nested(schema):
        if where not in skip:
            _check_nested(nested, f"{path}.{where}", place.depth + 1, problems)
    for where, child, inner in _children(schema, place):
        _check(child, f"{path}.{where}", inner, problems)


_KEYWORD_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("properties", "not"), (dict,)),
    **dict.fromkeys(
        ("allOf", "anyOf", "oneOf", "required", "enum", _LIST_KEYS, "x-kubernetes-validations"),
        (list,),
    ),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), (int, float)),
    **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"), (int,)),
    **dict.fromkeys(("type", "format", "pattern", "title", "description", _LIST_TYPE, _MAP_TYPE), (str,)),
}


def _check_keywords(schema: Obj, path: str, problems: Problems) -> bool:
    """Types of keywords below `items` and `additionalProperties`, which the published schema does not look into."""
    wrong = [
        key
        for key, value in schema.items()
        if (types := _KEYWORD_TYPES.get(key)) is not None and type(value) not in types
    ]
    wrong += [
        key
        for key in ("required", _LIST_KEYS)
        if key in schema and key not in wrong and not all(isinstance(name, str) for name in schema[key])
    ]
    for key in wrong:
        problems.invalid(f"{path}.{key}", schema[key], "is of the wrong type")
    return not wrong


def _check_openapi(schema: Obj, path: str, place: _Place, problems: Problems) -> None:
    if schema.get("type") == "null":
        problems.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif schema.get("type") and schema["type"] not in _TYPES:
        problems.unsupported(f"{path}.type", schema["type"], _TYPES)
    if "default" in schema and place.no_defaults:
        problems.forbidden(f"{path}.default", f"must not be set {place.no_defaults}")
    for key in _UNSUPPORTED:
        if schema.get(key):
            problems.forbidden(f"{path}.{key}", f"{key} is not supported")
    if isinstance(schema.get("items"), list):
        problems.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get(_EMBEDDED):
        problems.forbidden(f"{path}.{_EMBEDDED}", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        problems.forbidden(f"{path}.uniqueItems", why)
    additional = schema.get("additionalProperties")
    if additional is not None and schema.get("properties") and additional is not True:
        problems.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if schema.get(_PRESERVE) is False:
        problems.invalid(f"{path}.{_PRESERVE}", False, "must be true or undefined")
    pattern = schema.get("pattern")
    if pattern:
        _check_pattern(pattern, f"{path}.pattern", problems)


def _check_pattern(pattern: str, path: str, problems: Problems) -> None:
    try:
        check_pattern(pattern)
    except InvalidPattern as error:
        problems.invalid(path, pattern, f"must be a valid regular expression, but isn't: {error}")


def _check_structure(schema: Obj, path: str, place: _Place, problems: Problems) -> None:
    kind, embedded = schema.get("type") or "", bool(schema.get(_EMBEDDED))
    if kind == "array" and not isinstance(schema.get("items"), dict):
        problems.required(f"{path}.items", "must be specified")
    if embedded and kind != "object":
        why = f"must be object if {_EMBEDDED} is true"
        if kind:
            problems.invalid(f"{path}.type", kind, why)
        else:
            problems.required(f"{path}.type", why)
    elif not kind and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        problems.required(f"{path}.type", f"must not be empty {_LEVEL[place.level]}")
    elif place.level == "root" and kind and kind != "object":
        problems.invalid(f"{path}.type", kind, "must be object at the root")
    if place.level == "root" and schema.get("additionalProperties") is not None:
        problems.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if embedded and schema.get("additionalProperties") is not None:
        problems.forbidden(f"{path}.additionalProperties", f"must not be used if {_EMBEDDED} is set")
    if schema.get(_INT_OR_STRING):
        for key in (_PRESERVE, _EMBEDDED):
            if schema.get(key):
                problems.invalid(f"{path}.{key}", True, f"must be false if {_INT_OR_STRING} is true")
    if embedded and not schema.get(_PRESERVE) and not schema.get("properties"):
        why = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        problems.required(f"{path}.properties", why)
    if place.level == "root" or embedded:
        _check_type_meta(schema, path, place, problems)


def _check_type_meta(schema: Obj, path: str, place: _Place, problems: Problems) -> None:
    properties = schema.get("properties") or {}
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if isinstance(found, dict) and found.get("type") != wanted:
            problems.invalid(f"{path}.properties[{name}].type", found.get("type") or "", f"must be {wanted}")
    metadata = properties.get("metadata")
    if place.level == "root" and isinstance(metadata, dict):
        extra = {
            key
            for key, value in metadata.items()
            if key not in ("type", "description", "properties", "title") and value not in (None, False, "", [], {})
        }
        if extra or set(metadata.get("properties") or ()) - {"name", "generateName"}:
            why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            problems.forbidden(f"{path}.properties[metadata]", why)


def _check_lists(schema: Obj, path: str, problems: Problems) -> None:
    list_type, map_type, keys = schema.get(_LIST_TYPE), schema.get(_MAP_TYPE), schema.get(_LIST_KEYS) or []
    kind, raw_items = schema.get("type") or "", schema.get("items")
    items: Obj = raw_items if isinstance(raw_items, dict) else {}
    for keyword, value, wanted, known in (
        (_MAP_TYPE, map_type, "object", ("atomic", "granular")),
        (_LIST_TYPE, list_type, "array", ("atomic", "map", "set")),
    ):
        if value is None:
            continue
        if not kind:
            problems.required(f"{path}.type", f"must be {wanted} if {keyword} is specified")
        elif kind != wanted:
            problems.invalid(f"{path}.type", kind, f"must be {wanted} if {keyword} is specified")
        if value not in known:
            problems.unsupported(f"{path}.{keyword}", value, known)
    if list_type == "set":
        _check_set_items(items, f"{path}.items", problems)
    if keys and list_type != "map":
        why = f"must be map if {_LIST_KEYS} is non-empty"
        if list_type is None:
            problems.required(f"{path}.{_LIST_TYPE}", why)
        else:
            problems.invalid(f"{path}.{_LIST_TYPE}", list_type, why)
    if list_type in ("set", "map") and items.get("nullable"):
        problems.forbidden(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}")
    if list_type == "map":
        _check_map_items(items, keys, path, problems)


def _check_set_items(items: Obj, path: str, problems: Problems) -> None:
    why = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(_LIST_TYPE, "atomic") != "atomic":
        problems.invalid(f"{path}.{_LIST_TYPE}", items.get(_LIST_TYPE), why)
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        problems.invalid(f"{path}.{_MAP_TYPE}", items.get(_MAP_TYPE), why)


def _check_map_items(items: Obj, keys: list[str], path: str, problems: Problems) -> None:
    if not keys:
        problems.required(f"{path}.{_LIST_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items.get("type") != "object":
        why = f"must be object if parent array's {_LIST_TYPE} is map"
        problems.invalid(f"{path}.items.type", items.get("type") or "", why)
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        found, place = properties.get(key), f"{path}.items.properties[{key}]"
        if key in keys[:index]:
            problems.invalid(f"{path}.{_LIST_KEYS}", keys, "must not contain duplicate entries")
        if not isinstance(found, dict):
            problems.invalid(f"{path}.{_LIST_KEYS}", keys, "entries must all be names of item properties")
            continue
        if found.get("type") in ("array", "object"):
            why = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            problems.invalid(f"{place}.type", found["type"], why)
        if key not in (items.get("required") or ()) and "default" not in found:
            why = f"this property is in {_LIST_KEYS}, so it must have a default or be a required property"
            problems.required(f"{place}.default", why)
        if found.get("nullable"):
            problems.forbidden(f"{place}.nullable", f"this property is in {_LIST_KEYS}, so it cannot be nullable")


def _children(schema: Obj, place: _Place) -> Iterator[tuple[str, Any, _Place]]:
    """The schemas of inner values: where they stand and what holds there."""
    deeper = place._replace(depth=place.depth + 1)
    if isinstance(schema.get("items"), dict):
        yield "items", schema["items"], deeper._replace(level="item")
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        why = "inside additionalProperties applying to object metadata" if place.in_meta else place.no_defaults
        yield "additionalProperties", additional, deeper._replace(level="field", no_defaults=why)
    field = deeper._replace(level="field")
    for name, child in (schema.get("properties") or {}).items():
        inner = field
        if name in _META and (place.level == "root" or schema.get(_EMBEDDED)):
            why = f"in top-level {name}" if place.level == "root" else place.no_defaults
            inner = inner._replace(in_meta=True, no_defaults=why)
        yield f"properties[{name}]", child, inner


def _skipped(schema: Obj) -> set[str]:
    """The one place where types may stand in junctors: the two spellings of an int-or-string."""
    if schema.get(_INT_OR_STRING) and schema.get("anyOf") == _INT_OR_STRING_ANY_OF:
        return {"anyOf[0]", "anyOf[1]"}
    return set()


def _nested(schema: Obj) -> Iterator[tuple[str, Any]]:
    for key in ("allOf", "anyOf", "oneOf"):
        for index, nested in enumerate(schema.get(key) or ()):
            if key == "allOf" and index == 0 and schema.get(_INT_OR_STRING) and isinstance(nested, dict):
                nested = {k: v for k, v in nested.items() if k != "anyOf" or v != _INT_OR_STRING_ANY_OF}
            yield f"{key}[{index}]", nested
    if schema.get("not") is not None:
        yield "not", schema["not"]


def _check_nested(schema: Any, path: str, depth: int, problems: Problems) -> None:
    """A schema in a junctor may say what values must be like, and nothing about their structure."""
    if not isinstance(schema, dict):
        problems.invalid(path, schema, "must be a schema object")
        return
    if depth > DEPTH_LIMIT:
        problems.invalid(path, "", f"must not be nested deeper than {DEPTH_LIMIT} levels")
        return
    if not _check_keywords(schema, path, problems):
        return
    for key, why in _FORBIDDEN_NESTED:
        if schema.get(key) not in (None, False, "", [], {}):
            problems.forbidden(f"{path}.{key}", why)
    if schema.get("pattern"):
        _check_pattern(schema["pattern"], f"{path}.pattern", problems)
    for key in _UNSUPPORTED:
        if schema.get(key):
            problems.forbidden(f"{path}.{key}", f"{key} is not supported")
    for where, nested in _nested(schema):
        _check_nested(nested, f"{path}.{where}", depth + 1, problems)
    if isinstance(schema.get("items"), dict):
        _check_nested(schema["items"], f"{path}.items", depth + 1, problems)
    for name, child in (schema.get("properties") or {}).items():
        if name == "metadata":
            problems.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")
        _check_nested(child, f"{path}.properties[{name}]", depth + 1, problems)


def _check_defaults(schema: Structural, path: str, problems: Problems) -> None:
    """A default must be what its own schema accepts, and hold nothing that would be pruned."""
    if not schema.defaulting:
        return
    for where, child in _inner(schema):
        _check_defaults(child, f"{path}.{where}", problems)
        if child.default is ABSENT or child.default is None:
            continue
        place = f"{path}.{where}.default"
        holder = {"value": copy.deepcopy(child.default)}
        wrapper = Structural({"type": "object"})
        wrapper.properties = {"value": child}
        found = shape(wrapper, holder)
        if found.unknown:
            problems.invalid(place, child.default, "must not have unknown fields")
        for cause in validate(child, child.default, place):
            problems.append(cause)


def _inner(schema: Structural) -> Iterator[tuple[str, Structural]]:
    for name, child in schema.properties.items():
        yield f"properties[{name}]", child
    if schema.items is not None:
        yield "items", schema.items
    if schema.additional is not None:
        yield "additionalProperties", schema.additional
