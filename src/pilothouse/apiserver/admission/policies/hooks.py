"""Policies with their bindings, kept ready to be asked: read again when one of them changed, compiled once.

A policy that does not compile cannot be written (`expressions.py`); one that is there all the same (a restored backup
of another version) is an error of configuration, which follows its failure policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Generic, TypeVar

from pilothouse.apiserver.admission.targets import Matched, Targets
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.admission.compiled import Compiled
from pilothouse.policy.admission.target import Target, any_rule, selected

C = TypeVar("C", bound=Compiled)


class Hook(Generic[C]):
    """A policy and what binds it."""

    def __init__(self, policy: Obj, bindings: list[Obj], compile: Callable[[Obj], C]) -> None:
        self.policy = policy
        self.name: str = policy["metadata"]["name"]
        self.spec: Obj = policy.get("spec") or {}
        self._compile = compile
        self._constraints: Obj = self.spec.get("matchConstraints") or {}
        self._bound = [(binding, (binding.get("spec") or {}).get("matchResources") or {}) for binding in bindings]

    @cached_property
    def compiled(self) -> C:
        return self._compile(self.policy)

    def matched(self, targets: Targets) -> Matched | None:
        """The request in the version that the policy means; None when it does not mean it."""
        constraints = self._constraints
        matched = targets.match(constraints.get("resourceRules") or (), constraints.get("matchPolicy") or "Equivalent")
        if matched is None:
            return None
        target = targets.with_labels(matched.target, [constraints, *(resources for _, resources in self._bound)])
        return matched._replace(target=target) if _meant(constraints, target) else None

    def bindings(self, target: Target) -> Iterator[Obj]:
        """Those that mean the target."""
        for binding, resources in self._bound:
            rules = resources.get("resourceRules")
            if (not rules or any_rule(rules, target)) and _meant(resources, target):
                yield binding


def _meant(constraints: Obj, target: Target) -> bool:
    """Whether selectors let a target through that no excluding rule means."""
    try:
        return not any_rule(constraints.get("excludeResourceRules") or (), target) and selected(constraints, target)
    except ValueError:
        return False  # the kind's validation lets no such selector in


class Hooks(Generic[C]):
    """All bound policies of a kind."""

    def __init__(
        self, objects: ObjectReader, policies: Resource, bindings: Resource, compile: Callable[[Obj], C]
    ) -> None:
        self._objects = objects
        self._policies = policies
        self._bindings = bindings
        self._compile = compile
        self._seen = (-1, -1)
        self._hooks: list[Hook[C]] = []

    def current(self) -> list[Hook[C]]:
        """Those bound now, by name."""
        seen = (self._objects.revision(self._policies), self._objects.revision(self._bindings))
        if seen != self._seen:
            self._read()
            self._seen = seen
        return self._hooks

    def _read(self) -> None:
        bindings: dict[str, list[Obj]] = defaultdict(list)
        for binding in self._objects.list(self._bindings):
            bindings[(binding.get("spec") or {}).get("policyName") or ""].append(binding)
        known: dict[str, Hook[C]] = {}
        for policy in self._objects.list(self._policies):
            name = policy["metadata"]["name"]
            if name not in bindings:
                continue
            known[name] = Hook(policy, bindings[name], self._compile)
        self._hooks = [known[name] for name in sorted(known)]
