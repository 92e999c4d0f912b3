"""From an admission request to what rules, selectors and expressions look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pilothouse.apiserver.admission.equivalent import Convert, Equivalents
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.admission.target import Target, any_rule
from pilothouse.policy.admission.variables import Inputs, request_value, user_value


class Matched(NamedTuple):
    """A request in the version a rule means; `back` makes the requested version of it (None: it is that)."""

    target: Target
    back: Convert | None = None


class Targets:
    """One request, as policies and webhooks are asked about it. What only some need is found when they ask."""

    def __init__(self, request: AdmissionRequest, objects: ObjectReader, equivalents: Equivalents) -> None:
        self.request = request
        self._objects = objects
        self._equivalents = equivalents
        self._namespace: Obj | None = None
        self._namespace_read = False

    @property
    def namespace(self) -> Obj | None:
        """The Namespace the object is in; None outside namespaces, and for a Namespace itself."""
        request = self.request
        if not self._namespace_read:
            self._namespace_read = True
            if request.namespace and request.resource != Namespace.resource:
                self._namespace = self._objects.get(Namespace.resource, "", request.namespace)
        return self._namespace

    def match(self, rules: Sequence[Obj], match_policy: str) -> Matched | None:
        """The version of the request that one of the rules means."""
        bare = self._target(self.request.resource)
        if any_rule(rules, bare):
            return Matched(bare)
        if match_policy == "Exact" or self.request.subresource:
            return None
        for form in self._equivalents.others(self.request.resource):
            if any_rule(rules, bare._replace(resource=form.resource)):
                return Matched(self._target(form.resource, form.to), form.back)
        return None

    def with_labels(self, target: Target, constraints: Sequence[Obj]) -> Target:
        """The target with its namespace's labels, where one of the constraints selects by them."""
        if not any(entry.get("namespaceSelector") for entry in constraints):
            return target
        labels: Mapping[str, str] = ((self.namespace or {}).get("metadata") or {}).get("labels") or {}
        return target._replace(namespace_labels=labels)

    def _target(self, resource: Resource, convert: Callable[[Obj], Obj] = lambda tree: tree) -> Target:
        request = self.request
        return Target(
            request.operation,
            resource,
            request.subresource,
            request.namespace,
            request.name,
            None if request.object is None else convert(request.object),
            None if request.old_object is None else convert(request.old_object),
            {},
        )

    def inputs(self, target: Target, params: Obj | None = None) -> Inputs:
        """What expressions are evaluated for."""
        return Inputs(target.object, target.old_object, self.value(target), self.namespace, params)

    def value(self, target: Target) -> Obj:
        """The AdmissionRequest without its objects."""
        request, user = self.request, self.request.user
        return request_value(
            operation=request.operation,
            resource=target.resource,
            requested=request.resource,
            subresource=request.subresource,
            namespace=request.namespace,
            name=request.name,
            user=user_value(user.name, user.uid, user.groups, user.extra),
            dry_run=request.dry_run,
            options=request.options,
        )
