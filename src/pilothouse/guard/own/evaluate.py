"""Judges objects by users' own checks, within the limits of cost that Kubernetes has. Pure but for the clock.

A check that meets its limits again and again is not asked any more: what is left is "not checked", and told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pilothouse.guard.finding import Check
from pilothouse.guard.own.load import OwnCheck, Use
from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import COST_SPENT, Broken, Result
from pilothouse.policy.admission.variables import Inputs
from pilothouse.policy.cel import EvaluationError
from pilothouse.policy.cel.errors import TimeExceeded
from pilothouse.policy.cel.library.authorizer import Answer, Question
from pilothouse.policy.load import Policy
from pilothouse.policy.match import Subject, matches
from pilothouse.policy.verdict import NotChecked, Verdict, Violation

_PATIENCE: Final = 3
"""Objects at which a check may meet a limit before it is not asked any more."""
_LONGEST_PART: Final = 200
_LIMIT: Final = "operation cancelled"
_EVERYTHING: Final = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]


class Limits(NamedTuple):
    """Seconds for one check and one object, and for one check and all objects."""

    seconds: float = 2.0
    in_all: float = 60.0


@dataclass(slots=True)
class _Account:
    """What a check has used up."""

    limits: Limits
    seconds: float = 0.0
    limits_met: int = 0

    @property
    def closed(self) -> str:
        """Why it is not asked any more, "" while it is."""
        if self.limits_met >= _PATIENCE:
            return f"not asked any more: it met its limit of cost or time at {_PATIENCE} objects"
        if self.seconds > self.limits.in_all:
            return f"not asked any more: it took more than {self.limits.in_all:.0f} s in all"
        return ""


def kinds_of(constraints: Obj) -> set[tuple[str, str]]:
    """Group and plural of each kind that matchConstraints name; `*` and subresources name none."""
    return {
        (group, plural)
        for rule in constraints.get("resourceRules") or ()
        for group in rule.get("apiGroups") or ()
        for plural in rule.get("resources") or ()
        if "*" not in group and "*" not in plural and "/" not in plural
    }


_AT_THE_DESK: Final = Limits()


class OwnChecks:
    """Own checks ready to be asked, and what they have used up. `by_policy` is what each policy's annotations say."""

    def __init__(self, checks: Iterable[OwnCheck] = (), limits: Limits = _AT_THE_DESK) -> None:
        self.checks = tuple(checks)
        self.by_policy: Mapping[str, Check] = {own.policy.name: own.check for own in self.checks}
        self._accounts = {own.policy.name: _Account(limits) for own in self.checks}

    def __bool__(self) -> bool:
        return bool(self.checks)

    def kinds(self) -> set[tuple[str, str]]:
        """Group and plural of each kind that a check names; one that names all (`*`) names none."""
        return {found for own in self.checks for found in kinds_of(own.policy.constraints)}

    def evaluate(self, subject: Subject, params: Mapping[str, Obj], space: str, namespace: Obj | None) -> Verdict:
        """What the checks say about an object; `params` are parameters by name of policy, `space` is the namespace it
        goes to, `namespace` that Namespace, None where it is not known."""
        violations: list[Violation] = []
        missed: list[NotChecked] = []
        passed: list[Policy] = []
        for own in self.checks:
            if not matches(own.policy.constraints, subject):
                continue
            try:
                found = list(self._judge(own, subject, params, space, namespace))
            except EvaluationError as error:
                missed.append(NotChecked(own.policy, str(error)))
                continue
            broken = [violation for answer in found if answer is not None for violation in answer]
            violations += _without_repeats(broken)
            if not broken and any(answer is not None for answer in found):
                passed.append(own.policy)
        return Verdict(tuple(violations), tuple(missed), tuple(passed))

    def _judge(
        self, own: OwnCheck, subject: Subject, params: Mapping[str, Obj], space: str, namespace: Obj | None
    ) -> Iterator[list[Violation] | None]:
        """For each use the rules broken, None where it does not mean the object. Raises EvaluationError."""
        if own.live_only:
            raise EvaluationError(f"not evaluated: {', '.join(own.live_only)} is known only to a live request")
        if own.reads_namespace and namespace is None:
            raise EvaluationError("not evaluated: reads namespaceObject, and the Namespace is not among what is read")
        given = params.get(own.policy.name)
        uses = own.uses if given is None else (Use({}, given),)
        if not uses:
            raise EvaluationError(f"not evaluated: needs parameters ({own.policy.param_kind}), none were given")
        account = self._accounts[own.policy.name]
        for use in uses:
            if use.namespace and use.namespace != space:
                continue
            if use.where and not matches({"resourceRules": _EVERYTHING, **use.where}, subject):
                continue
            if account.closed:
                raise EvaluationError(account.closed)
            yield _violations(own, _asked(own, Inputs(subject.tree, None, {}, namespace, use.params), account))


def _asked(own: OwnCheck, inputs: Inputs, account: _Account) -> Result | None:
    began = time.monotonic()
    try:
        result = own.compiled.judge(inputs, _nobody, account.limits.seconds)
    except TimeExceeded as error:
        account.limits_met += 1
        raise EvaluationError(f"evaluation error: {error}") from None
    finally:
        account.seconds += time.monotonic() - began
    if result is not None and any(_limited(entry) for entry in result.broken):
        account.limits_met += 1
    return result


def _limited(entry: Broken) -> bool:
    return entry.error and (_LIMIT in entry.message or entry.message == COST_SPENT)


def _violations(own: OwnCheck, result: Result | None) -> list[Violation] | None:
    """Raises EvaluationError when a rule could not be evaluated: that is no pass, whatever the others say."""
    if result is None:
        return None
    errors = [entry.message for entry in result.broken if entry.error]
    if errors:
        raise EvaluationError(f"evaluation error: {_short(errors[0])}")
    return [Violation(own.policy, entry.message, dict(result.annotations)) for entry in result.broken]


def _short(text: str) -> str:
    """A message without the middle of a long expression that it repeats."""
    return text if len(text) <= 2 * _LONGEST_PART else f"{text[:_LONGEST_PART]} … {text[-_LONGEST_PART:]}"


def _without_repeats(broken: Iterable[Violation]) -> list[Violation]:
    """What several uses say alike is said once."""
    return list({(one.message, *sorted(one.audit.items())): one for one in broken}.values())


def _nobody(question: Question) -> Answer:
    raise EvaluationError("the authorizer is known only to a live request")
