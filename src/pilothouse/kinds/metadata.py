"""Rules for `metadata`, true of every kind.

Source: `ValidateObjectMeta` and `ValidateObjectMetaUpdate` of apimachinery.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

UNQUALIFIED = "name is neither a standard finalizer name nor is it fully qualified"
NameRule = Callable[[str], list[str]]

_FIXED_ONCE_SET = ("name", "namespace", "uid", "creationTimestamp")
# The same few keys and values come again and again.
_key_faults = lru_cache(maxsize=2048)(names.label_key)
_value_faults = lru_cache(maxsize=2048)(names.label_value)
_FINALIZERS_WITHOUT_DOMAIN = frozenset({"orphan", "foregroundDeletion", "kubernetes"})


def check_metadata(
    meta: Obj, namespaced: bool, name_rule: NameRule, problems: Problems, *, bare_finalizers: bool = False
) -> None:
    """Name, namespace, labels, annotations, owners and finalizers of an object about to be stored.

    With `bare_finalizers` those may have no domain, as upstream allows outside of its own kinds.
    """
    name = meta.get("name") or ""
    prefix = meta.get("generateName") or ""
    if prefix:
        problems.invalid_each("metadata.generateName", prefix, name_rule(prefix.rstrip("-") + "-x"))
    if name:
        problems.invalid_each("metadata.name", name, name_rule(name))
    elif not prefix:
        problems.required("metadata.name", "name or generateName is required")
    _check_namespace(meta.get("namespace") or "", namespaced, problems)
    check_labels(meta.get("labels"), "metadata.labels", problems)
    check_annotations(meta.get("annotations"), "metadata.annotations", problems)
    if owners := meta.get("ownerReferences"):
        _check_owners(owners, problems)
    if finalizers := meta.get("finalizers"):
        _check_finalizers(finalizers, bare_finalizers, problems)


def check_metadata_update(meta: Obj, old: Obj, problems: Problems) -> None:
    """What of an object's metadata may not change."""
    for key in _FIXED_ONCE_SET:
        if meta.get(key) != old.get(key) and (meta.get(key) or old.get(key)):
            problems.immutable(f"metadata.{key}", meta.get(key) or "", old.get(key))
    if old.get("deletionTimestamp"):
        if meta.get("deletionTimestamp") != old["deletionTimestamp"]:
            problems.immutable("metadata.deletionTimestamp", meta.get("deletionTimestamp"), old["deletionTimestamp"])
        added = sorted(set(meta.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            problems.forbidden(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new: {', '.join(added)}",
            )


def check_labels(labels: dict[str, str] | None, path: str, problems: Problems) -> None:
    """Keys are qualified names, values at most 63 characters of letters, digits, `-`, `_` and `.`."""
    for key, value in (labels or {}).items():
        problems.invalid_each(path, key, _key_faults(key))
        problems.invalid_each(path, value, _value_faults(value))


def check_template_metadata(meta: Obj, path: str, problems: Problems) -> None:
    """Metadata of a claim that a pod carries: only labels and annotations. Source: `ValidateTemplateObjectMeta`."""
    check_annotations(meta.get("annotations"), f"{path}.annotations", problems)
    check_labels(meta.get("labels"), f"{path}.labels", problems)
    for key, value in meta.items():
        if value and key not in ("annotations", "labels"):
            problems.forbidden(f"{path}.{key}", "cannot be set")


def check_annotations(annotations: dict[str, str] | None, path: str, problems: Problems) -> None:
    """Keys are qualified names (case ignored); together at most 256 KiB."""
    total = 0
    for key, value in (annotations or {}).items():
        problems.invalid_each(path, key, names.annotation_key(key))
        total += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if total > names.ANNOTATIONS_MAX_BYTES:
        problems.too_long(path, names.ANNOTATIONS_MAX_BYTES)


def _check_namespace(namespace: str, namespaced: bool, problems: Problems) -> None:
    if namespaced:
        if namespace:
            problems.invalid_each("metadata.namespace", namespace, names.dns1123_label(namespace))
        else:
            problems.required("metadata.namespace")
    elif namespace:
        problems.forbidden("metadata.namespace", "not allowed on this type")


def _check_owners(owners: list[Obj], problems: Problems) -> None:
    controller = ""
    path = "metadata.ownerReferences"  # as upstream, which does not say which one
    for owner in owners:
        version = owner.get("apiVersion") or ""
        if not version.rpartition("/")[2]:
            problems.invalid(f"{path}.apiVersion", version, "version must not be empty")
        for key in ("kind", "name", "uid"):
            if not owner.get(key):
                problems.invalid(f"{path}.{key}", "", "must not be empty")
        if not owner.get("controller"):
            continue
        this = f"{owner.get('kind')}/{owner.get('name')}"
        if controller:
            problems.invalid(
                "metadata.ownerReferences",
                owners,
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {this}",
            )
        controller = this


def _check_finalizers(finalizers: list[str], bare: bool, problems: Problems) -> None:
    path = "metadata.finalizers"
    for finalizer in finalizers:
        problems.invalid_each(path, finalizer, names.label_key(finalizer))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        problems.invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set")
    for index, finalizer in enumerate(finalizers):
        if not bare and "/" not in finalizer and finalizer not in _FINALIZERS_WITHOUT_DOMAIN:
            problems.invalid(f"{path}[{index}]", finalizer, UNQUALIFIED)
