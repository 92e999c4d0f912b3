"""What a CustomResourceDefinition must be like, its schemas apart (those are in `schema_rules`).

Source of rules and wording: `apiextensions-apiserver/pkg/apis/apiextensions/validation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilothouse.kinds.apiextensions.schema_rules import check_schema
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.json_path import InvalidPath, parse_path, simple_path
from pilothouse.machinery.objects import Obj

_APPROVAL = "api-approved.kubernetes.io"
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_MOST_SELECTABLE = 8
_LONGEST_WARNING = 256


def check_definition(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    wanted = f"{section(spec, 'names').get('plural') or ''}.{spec.get('group') or ''}"
    if obj["metadata"].get("name") != wanted:
        problems.invalid("metadata.name", obj["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
    _check_group(obj, spec.get("group") or "", old, problems)
    problems.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    _check_names(section(spec, "names"), "spec.names", problems)
    _check_versions(spec, section(old, "spec") if old else {}, problems)
    _check_conversion(spec, problems)
    if spec.get("preserveUnknownFields"):
        problems.invalid("spec.preserveUnknownFields", True, "must be false")
    _check_stored_versions(obj, spec, problems)
    if old is not None:
        _check_update(spec, old, problems)


def _check_group(obj: Obj, group: str, old: Obj | None, problems: Problems) -> None:
    if not group:
        problems.required("spec.group")
        return
    if messages := names.dns1123_subdomain(group):
        problems.invalid("spec.group", group, ",".join(messages))
    elif "." not in group:
        problems.invalid("spec.group", group, "should be a domain with at least one dot")
    if group.endswith((".k8s.io", ".kubernetes.io")) and old is None:
        approval = section(obj["metadata"], "annotations").get(_APPROVAL)
        if not approval:
            problems.required(
                f"metadata.annotations[{_APPROVAL}]",
                f'protected groups must have approval annotation "{_APPROVAL}",'
                " see https://github.com/kubernetes/enhancements/pull/1111",
            )


def _check_names(given: Obj, path: str, problems: Problems) -> None:
    for name in ("plural", "singular", "kind", "listKind"):
        value = given.get(name) or ""
        if not value:
            problems.required(f"{path}.{name}")
            continue
        messages = names.dns1035_label(value.lower() if name in ("kind", "listKind") else value)
        if messages:
            mixed = "may have mixed case, but should otherwise match: " if name in ("kind", "listKind") else ""
            problems.invalid(f"{path}.{name}", value, mixed + ",".join(messages))
    for name in ("shortNames", "categories"):
        for index, value in enumerate(given.get(name) or ()):
            if messages := names.dns1035_label(value):
                problems.invalid(f"{path}.{name}[{index}]", value, ",".join(messages))
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        problems.invalid(f"{path}.listKind", given["listKind"], "kind and listKind may not be the same")


def _check_versions(spec: Obj, old: Obj, problems: Problems) -> None:
    versions = spec.get("versions") or []
    found = [version.get("name") or "" for version in versions]
    if len(set(found)) != len(found):
        problems.invalid("spec.versions", found, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        problems.invalid("spec.versions", found, "must have exactly one version marked as storage version")
    before = {version.get("name"): version for version in old.get("versions") or ()}
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if messages := names.dns1035_label(version.get("name") or ""):
            problems.invalid(f"{path}.name", version.get("name") or "", ",".join(messages))
        _check_version(version, before.get(version.get("name")) or {}, path, problems)


def _check_version(version: Obj, old: Obj, path: str, problems: Problems) -> None:
    _check_warning(version, f"{path}.deprecationWarning", problems)
    schema = section(version, "schema").get("openAPIV3Schema")
    if schema is None:
        problems.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
    elif schema != section(old, "schema").get("openAPIV3Schema"):
        # One that has not changed was found right before, and takes long to look at again.
        check_schema(schema, f"{path}.schema.openAPIV3Schema", _has_status(version), problems)
    _check_scale(section(version, "subresources").get("scale"), f"{path}.subresources", problems)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _check_column(column, f"{path}.additionalPrinterColumns[{index}]", problems)
    _check_selectable(version, path, problems)


def _has_status(version: Obj) -> bool:
    return section(version, "subresources").get("status") is not None


def _check_warning(version: Obj, path: str, problems: Problems) -> None:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        problems.invalid(path, warning, "can only be set for deprecated versions")
    if len(warning) > _LONGEST_WARNING:
        problems.invalid(path, warning, f"must be <= {_LONGEST_WARNING} characters long")
    if not warning:
        problems.invalid(path, warning, "must not be an empty string")
    unprintable = next((index for index, character in enumerate(warning) if not character.isprintable()), None)
    if unprintable is not None:
        what = "must only contain printable UTF-8 characters; non-printable character found at index"
        problems.invalid(path, warning, f"{what} {unprintable}")


def _check_scale(scale: Obj | None, path: str, problems: Problems) -> None:
    if scale is None:
        return
    for name, root, required in (
        ("specReplicasPath", ".spec", True),
        ("statusReplicasPath", ".status", True),
        ("labelSelectorPath", ".status|.spec", False),
    ):
        value, place = scale.get(name) or "", f"{path}.scale.{name}"
        roots = root.split("|")
        if not value:
            if required:
                problems.required(place)
        elif value[0] != ".":
            problems.invalid(place, value, "must be a simple json path starting with .")
        elif not value.startswith(tuple(f"{top}." for top in roots)):
            problems.invalid(place, value, f"should be a json path under {' or '.join(roots)}")
        elif simple_path(value) is None:
            problems.invalid(place, value, "must be a json path in the dot notation")


def _check_column(column: Obj, path: str, problems: Problems) -> None:
    if not column.get("name"):
        problems.required(f"{path}.name")
    kind = column.get("type") or ""
    if not kind:
        problems.required(f"{path}.type", f"must be one of {','.join(sorted(_COLUMN_TYPES))}")
    elif kind not in _COLUMN_TYPES:
        problems.invalid(f"{path}.type", kind, f"must be one of {','.join(sorted(_COLUMN_TYPES))}")
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        problems.invalid(f"{path}.format", column["format"], f"must be one of {','.join(sorted(_COLUMN_FORMATS))}")
    json_path = column.get("jsonPath") or ""
    if not json_path:
        problems.required(f"{path}.JSONPath")
    elif json_path[0] != ".":
        problems.invalid(f"{path}.JSONPath", json_path, "must be a simple json path starting with .")
    else:
        _check_json_path(json_path, f"{path}.JSONPath", problems)


def _check_json_path(json_path: str, path: str, problems: Problems) -> None:
    try:
        parse_path(json_path)
    except InvalidPath as error:
        problems.invalid(path, json_path, f"is an invalid path: {error}")


def _check_selectable(version: Obj, path: str, problems: Problems) -> None:
    fields = version.get("selectableFields") or []
    if len(fields) > _MOST_SELECTABLE:
        problems.too_many(f"{path}.selectableFields", len(fields), _MOST_SELECTABLE)
    seen: set[str] = set()
    schema = section(version, "schema").get("openAPIV3Schema") or {}
    for index, entry in enumerate(fields):
        place, json_path = f"{path}.selectableFields[{index}].jsonPath", entry.get("jsonPath") or ""
        if not json_path:
            problems.required(place)
            continue
        if json_path in seen:
            problems.duplicate(place, json_path)
        seen.add(json_path)
        steps = simple_path(json_path)
        if steps is None:
            problems.invalid(place, json_path, "is an invalid path: must be a simple json path starting with .")
        elif steps[0] == "metadata":
            problems.invalid(place, json_path, "must not point to fields in metadata")
        elif not _is_scalar(schema, steps):
            problems.invalid(
                place,
                json_path,
                "must point to a field of type string, boolean or integer."
                " Enum string fields and strings with formats are allowed.",
            )


def _is_scalar(schema: Any, steps: list[str]) -> bool:
    for step in steps:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(step) if isinstance(properties, dict) else None
    return isinstance(schema, dict) and schema.get("type") in ("string", "boolean", "integer")


def _check_conversion(spec: Obj, problems: Problems) -> None:
    conversion = section(spec, "conversion")
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook")
    problems.one_of("spec.conversion.strategy", strategy, ("None", "Webhook"))
    if strategy == "Webhook":
        if webhook is None:
            problems.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook")
        else:
            _check_webhook(webhook, problems)
    elif webhook is not None:
        problems.forbidden(
            "spec.conversion.webhookClientConfig", "should not be set when strategy is not set to Webhook"
        )


def _check_webhook(webhook: Obj, problems: Problems) -> None:
    config = section(webhook, "clientConfig")
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        problems.required("spec.conversion.webhookClientConfig", "exactly one of url or service is required")
    if url is not None and not url.startswith("https://"):
        problems.invalid("spec.conversion.webhookClientConfig.url", url, "'https' is the only allowed URL scheme")
    if service is not None:
        _check_service(service, "spec.conversion.webhookClientConfig.service", problems)
    versions = webhook.get("conversionReviewVersions") or []
    if not versions:
        problems.required("spec.conversion.conversionReviewVersions")
    elif not set(versions) & set(_REVIEW_VERSIONS):
        problems.invalid(
            "spec.conversion.conversionReviewVersions",
            versions,
            f"must include at least one of {', '.join(_REVIEW_VERSIONS)}",
        )


def _check_service(service: Obj, path: str, problems: Problems) -> None:
    for name in ("name", "namespace"):
        if not service.get(name):
            problems.required(f"{path}.{name}")
    if not 1 <= service.get("port", 443) <= 65535:
        problems.invalid(f"{path}.port", service["port"], "port is not valid: must be between 1 and 65535, inclusive")


def _check_stored_versions(obj: Obj, spec: Obj, problems: Problems) -> None:
    stored = section(obj, "status").get("storedVersions") or []
    path = "status.storedVersions"
    if not stored:
        problems.invalid(path, stored, "must have at least one stored version")
        return
    known = {version.get("name"): version for version in spec.get("versions") or ()}
    for name, version in known.items():
        if version.get("storage") and name not in stored:
            problems.invalid(path, stored, f"must have the storage version {name}")
    for index, name in enumerate(stored):
        if name not in known:
            problems.invalid(f"{path}[{index}]", name, "must appear in spec.versions")


def _check_update(spec: Obj, old: Obj, problems: Problems) -> None:
    before = section(old, "spec")
    fixed: list[tuple[str, Callable[[Obj], Any]]] = [
        ("spec.group", lambda tree: tree.get("group")),
        ("spec.names.plural", lambda tree: section(tree, "names").get("plural")),
    ]
    conditions = section(old, "status").get("conditions") or ()
    if any(found.get("type") == "Established" and found.get("status") == "True" for found in conditions):
        fixed += [
            ("spec.scope", lambda tree: tree.get("scope")),
            ("spec.names.kind", lambda tree: section(tree, "names").get("kind")),
        ]
    for path, read in fixed:
        problems.immutable(path, read(spec), read(before))
