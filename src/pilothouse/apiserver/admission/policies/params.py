"""A binding's parameters. Source: Kubernetes' `policy/generic/policy_dispatcher.go`, CollectParams."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.selectors import from_label_selector

FindKind = Callable[[str, str], Resource | None]
"""The resource of an `apiVersion` and `kind`, None when it is not served."""


class ConfigurationError(Exception):
    """A policy or binding cannot be applied as it is written."""


def collect(
    kind: Obj | None, reference: Obj | None, namespace: str, objects: ObjectReader, find: FindKind
) -> list[Obj | None]:
    """The parameters to judge with, one after another; [None] for a policy without. Raises ConfigurationError."""
    if not kind or not reference:
        return [None]
    resource = find(kind.get("apiVersion", ""), kind.get("kind", ""))
    if resource is None:
        raise ConfigurationError(f"paramKind kind `{kind.get('apiVersion')}, Kind={kind.get('kind')}` not known")
    where = reference.get("namespace") or ""
    if resource.namespaced:
        where = where or namespace
        if not where:
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
    elif where:
        raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    found = _find(resource, where, reference, objects)
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [*found]


def _find(resource: Resource, namespace: str, reference: Obj, objects: ObjectReader) -> list[Obj]:
    name, selector = reference.get("name"), reference.get("selector")
    if name:
        found = objects.get(resource, namespace, name)
        return [] if found is None else [found]
    if selector is None:
        raise ConfigurationError("one of name or selector must be provided")
    try:
        wanted = from_label_selector(selector)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return [
        entry
        for entry in objects.list(resource, namespace)
        if wanted.matches((entry.get("metadata") or {}).get("labels"))
    ]
