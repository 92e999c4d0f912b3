"""Policies with their bindings, kept ready to be asked: read again when one of them changed, compiled once.

A policy that does not compile cannot be written (`expressions.py`); one that is there all the same (a restored backup
of another version) is an error of configuration, which follows its failure policy.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.validating_admission_policy_binding import ValidatingAdmissionPolicyBinding
from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import CompiledPolicy, compiled_policy


class Hook:
    """A policy and what binds it."""

    def __init__(self, policy: Obj, bindings: list[Obj]) -> None:
        self.policy = policy
        self.bindings = bindings
        self.name: str = policy["metadata"]["name"]
        self.spec: Obj = policy.get("spec") or {}
        self.constraints: Obj = self.spec.get("matchConstraints") or {}

    @cached_property
    def compiled(self) -> CompiledPolicy:
        return compiled_policy(self.policy)


class Hooks:
    """All bound policies."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._seen = (-1, -1)
        self._hooks: list[Hook] = []

    def current(self) -> list[Hook]:
        """Those bound now, by name."""
        seen = (
            self._objects.revision(ValidatingAdmissionPolicy.resource),
            self._objects.revision(ValidatingAdmissionPolicyBinding.resource),
        )
        if seen != self._seen:
            self._read()
            self._seen = seen
        return self._hooks

    def _read(self) -> None:
        bindings: dict[str, list[Obj]] = defaultdict(list)
        for binding in self._objects.list(ValidatingAdmissionPolicyBinding.resource):
            bindings[(binding.get("spec") or {}).get("policyName") or ""].append(binding)
        known: dict[str, Hook] = {}
        for policy in self._objects.list(ValidatingAdmissionPolicy.resource):
            name = policy["metadata"]["name"]
            if name not in bindings:
                continue
            known[name] = Hook(policy, bindings[name])
        self._hooks = [known[name] for name in sorted(known)]
