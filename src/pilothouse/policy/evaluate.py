"""Evaluates policies over JSON trees with Google's CEL evaluator.

Only policies that ship with Pilothouse are evaluated here, in the calling process: the evaluator has no cost limit and
no deadline and holds the interpreter's lock, so an expression from elsewhere could freeze the process. Policies that
users bring to a cluster are judged by the metered evaluator (`policy/cel`, `policy/admission`).

The evaluator hands errors back as values, which Python takes for true; so every result's type is looked at, and what is
not of the type asked for is an error. An error is "not checked", never a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cel_expr_python import cel

from pilothouse.machinery.objects import Obj
from pilothouse.policy.expressions import LIVE_ONLY, identifiers, put_in_place, variables_of
from pilothouse.policy.load import InvalidPolicy, Policy, Validation
from pilothouse.policy.match import Subject, matches, only_by_kind

_ROOTS = ("object", "oldObject", "params", "namespaceObject")
_CONFIG = '{"name": "checks", "extensions": [{"name": "optional"}, {"name": "strings"}]}'
"""By name: the modules that hold the same extensions take 5 MB more."""


class Violation(NamedTuple):
    """A rule an object breaks; `audit` holds the values of the policy's audit annotations.

    One that is `remembered` is the very same for all objects that have the essence in common.
    """

    policy: Policy
    message: str
    audit: Mapping[str, str]
    remembered: bool = False


Answer = Violation | str
"""How a policy is broken; or that it is not, or does not mean the object."""


class NotChecked(NamedTuple):
    """A policy that could not be evaluated for an object, and why."""

    policy: Policy
    reason: str


class Verdict(NamedTuple):
    """What all policies say about one object."""

    violations: tuple[Violation, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    passed: tuple[Policy, ...] = ()


class EvaluationError(Exception):
    """An expression gave an error or a value of another type."""


class Essence(NamedTuple):
    """Which policies look at a part of an object only, and the digest of that part (None: it has none). Their answers
    are remembered by the digest."""

    enough_for: Callable[[Policy], bool]
    of: Callable[[Obj], bytes | None]


class _OfKind(NamedTuple):
    """Policies with a rule for a kind, those among them that are answered together, and by the essence alone."""

    policies: Sequence[_Compiled]
    together: _Together
    by_essence: _Together


class Evaluator:
    """Compiled policies. Raises InvalidPolicy when one does not compile, naming policy and expression.

    `sound` policies are known to compile: what is answered together is then not compiled by itself as well, which takes
    half of the time and 4 MB.
    """

    def __init__(self, policies: Iterable[Policy], essence: Essence | None = None, *, sound: bool = False) -> None:
        found = list(policies)
        self._essence = essence
        self._remembered: dict[bytes, Mapping[str, Answer]] = {}
        shared = _shared(found)
        self._shared = {name: text for text, name in shared.items()}
        variables = dict.fromkeys((*_ROOTS, *self._shared), cel.Type.DYN)
        self._env = cel.NewEnv(None, config=cel.NewEnvConfigFromYaml(_CONFIG), variables=variables)
        self._programs = {name: self._env.compile(text) for name, text in self._shared.items()}
        self._policies = [_Compiled(self._env, policy, shared, sound) for policy in found]
        self._by_kind: dict[tuple[str, str], _OfKind] = {}
        self._answers: dict[tuple[str, ...], cel.Expression] = {}
        """What kinds have in common is compiled once: the checks of a workload take 7 MB."""

    @property
    def policies(self) -> list[Policy]:
        """All policies, in the order given."""
        return [compiled.policy for compiled in self._policies]

    def concerns(self, api_version: str, kind: str) -> bool:
        """Whether any policy is about objects of a kind."""
        return bool(self._of_kind(Subject({"apiVersion": api_version, "kind": kind, "metadata": {}})).policies)

    def prepare(self, kinds: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Compiles what evaluating objects of these kinds (apiVersion, kind) takes, in small steps: it holds the
        interpreter's lock, and would be done with the first object otherwise."""
        for api_version, kind in kinds:
            of_kind = self._of_kind(Subject({"apiVersion": api_version, "kind": kind, "metadata": {}}))
            yield from of_kind.together.compile()
            yield from of_kind.by_essence.compile()

    def evaluate(self, subject: Subject, params: Mapping[str, Obj] | None = None) -> Verdict:
        """What the policies say about an object; `params` are parameters by name of policy."""
        of_kind = self._of_kind(subject)
        wanted = [
            compiled
            for compiled in of_kind.policies
            if compiled.by_kind_only or matches(compiled.policy.constraints, subject)
        ]
        if not wanted:
            return Verdict()
        digest = self._digest(of_kind, subject.tree)
        known = dict(self._remembered.get(digest, {})) if digest else {}
        left = [compiled for compiled in wanted if compiled.policy.name not in known]
        shared = sorted({name for compiled in left for name in compiled.shared})
        scope = _Scope(self._env, self._programs, subject.tree, shared)
        violations: list[Violation] = []
        not_checked: list[NotChecked] = []
        passed: list[Policy] = []
        if not known:
            known = self._remember(digest, of_kind.by_essence.answers(scope))
        known.update(of_kind.together.answers(scope))
        for compiled in wanted:
            answer = known.get(compiled.policy.name)
            if answer is not None:
                if answer == _PASSES:
                    passed.append(compiled.policy)
                elif isinstance(answer, Violation):
                    violations.append(answer)
                continue
            given = (params or {}).get(compiled.policy.name)
            try:
                found = compiled.judge(scope, given)
            except EvaluationError as error:
                not_checked.append(NotChecked(compiled.policy, str(error)))
                continue
            if found is None:
                continue
            violations += found
            if not found:
                passed.append(compiled.policy)
        return Verdict(tuple(violations), tuple(not_checked), tuple(passed))

    def _digest(self, of_kind: _OfKind, tree: Obj) -> bytes | None:
        return self._essence.of(tree) if self._essence is not None and of_kind.by_essence.policies else None

    def _remember(self, digest: bytes | None, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """The answers of policies that the essence is enough for, as they will be given again."""
        if digest is None:
            return dict(answers)
        kept = {
            name: answer._replace(remembered=True) if isinstance(answer, Violation) else answer
            for name, answer in answers.items()
        }
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = kept
        return dict(kept)

    def _of_kind(self, subject: Subject) -> _OfKind:
        """Policies with a rule for the object's kind, which most have not; remembered by kind."""
        key = str(subject.tree.get("apiVersion")), str(subject.tree.get("kind"))
        if key not in self._by_kind:
            bare = Subject({"apiVersion": key[0], "kind": key[1], "metadata": {}})
            found = [
                compiled
                for compiled in self._policies
                if matches({"resourceRules": _without_scope(compiled.policy.constraints)}, bare)
            ]
            simple = [one for one in found if one.simple]
            enough = [one for one in simple if self._essence is not None and self._essence.enough_for(one.policy)]
            rest = [one for one in simple if one not in enough]
            together, by_essence = (_Together(self._env, part, self._answers) for part in (rest, enough))
            self._by_kind[key] = _OfKind(found, together, by_essence)
        return self._by_kind[key]


def _without_scope(constraints: Obj) -> list[Obj]:
    return [
        {key: value for key, value in rule.items() if key not in ("scope", "resourceNames")}
        for rule in constraints.get("resourceRules") or ()
    ]


def _shared(policies: Sequence[Policy]) -> dict[str, str]:
    """The variables that several policies have in common, fully written out, each with the name it is bound to."""
    counts = Counter(text for policy in policies for text in set(_written_out(policy).values()))
    return {text: f"shared_{index}" for index, text in enumerate(t for t, count in counts.items() if count > 1)}


def _written_out(policy: Policy) -> dict[str, str]:
    """The policy's variables by name, with the variables they read put in place."""
    found: dict[str, str] = {}
    for variable in policy.variables:
        try:
            found[variable.name] = put_in_place(variable.expression, found)
        except InvalidPolicy as error:
            raise InvalidPolicy(f"{policy.name}: variable {variable.name}: {error}") from error
    return found


_BROKEN, _PASSES, _NOT_MEANT = "broken", "passes", "not meant"


_MOST_REMEMBERED = 1024
"""Parts whose answers are kept: some 12 kB each."""
_GROUP = 12
"""Policies that are answered in one evaluation. Compiling as many takes some 20 ms, during which nothing else runs."""


class _Together:
    """The rules of many policies in few expressions, since one evaluation costs more than what most rules do in it.

    Where there is an error in one nothing is known of its group, and each policy is evaluated by itself, to say where.
    """

    def __init__(
        self, env: cel.Env, policies: Sequence[_Compiled], compiled: dict[tuple[str, ...], cel.Expression]
    ) -> None:
        """`compiled` holds the expressions of all kinds, by the names of their policies."""
        self._env = env
        self.policies = policies
        self._compiled = compiled
        alike: dict[str, list[_Compiled]] = {}
        for policy in policies:
            # Policies about the same kinds go together, so that all those kinds share the expression.
            alike.setdefault(repr(policy.policy.constraints), []).append(policy)
        self._groups = [
            (tuple(one.policy.name for one in group), group)
            for found in alike.values()
            for group in (found[at : at + _GROUP] for at in range(0, len(found), _GROUP))
        ]

    def compile(self) -> Iterator[None]:
        """Compiles what is not compiled yet, a group at a time."""
        for names, group in self._groups:
            if names not in self._compiled:
                answers = ", ".join(one.answer() for one in group)
                self._compiled[names] = self._env.compile(f"[{answers}]")
                yield

    def answers(self, scope: _Scope) -> dict[str, Answer]:
        """By name of policy, of those of which something is known: _PASSES, _NOT_MEANT, or how it is broken."""
        if scope.failed:
            return {}
        for _ in self.compile():
            pass
        known: dict[str, Answer] = {}
        activation = scope.with_params(None)
        for names, group in self._groups:
            result = self._compiled[names].eval(activation)
            if result.type() == cel.Type.ERROR:
                continue
            for policy, answer in zip(group, result.plain_value()):
                known[policy.policy.name] = policy.told(answer[1:]) if answer[0] == _BROKEN else answer[0]
        return known


class _Scope:
    """One object's bindings: the trees as given, and shared variables evaluated once for all policies."""

    def __init__(self, env: cel.Env, programs: Mapping[str, cel.Expression], tree: Obj, shared: Sequence[str]) -> None:
        self._env = env
        self._data: dict[str, Any] = {"object": tree, "oldObject": None, "namespaceObject": None, "params": None}
        self.failed: set[str] = set()
        if shared:
            plain = env.Activation(self._data)
            values = {}
            for name in shared:
                result = programs[name].eval(plain)
                if result.type() == cel.Type.ERROR:
                    self.failed.add(name)  # lazily evaluated, it may not be needed: policies evaluate it themselves
                else:
                    values[name] = result.plain_value()
            self._data |= values
        self._activation = env.Activation(self._data)

    def with_params(self, params: Obj | None) -> cel.Activation:
        """The bindings, with a policy's parameters."""
        return self._activation if params is None else self._env.Activation(self._data | {"params": params})


class _Compiled:
    """One policy's programs: rules at once, what only a violation needs when it is needed."""

    def __init__(self, env: cel.Env, policy: Policy, shared: Mapping[str, str], sound: bool) -> None:
        self.policy = policy
        self.by_kind_only = only_by_kind(policy.constraints)
        """The kind alone decides whether an object is meant."""
        self._env = env
        self._whole = _written_out(policy)
        self._short = _shortened(policy, self._whole, shared)
        used = {
            name
            for expression in (*self._main(), *self._telling())
            for variable in variables_of(expression)
            for name in identifiers(self._short.get(variable, ""))
        }
        self.shared = used & set(shared.values())
        self.live_only = sorted(
            {
                name
                for expression in (*self._main(), *self._whole.values())
                for name in identifiers(expression) & {*LIVE_ONLY, "namespaceObject"}
            }
        )
        one_rule = len(policy.validations) == 1
        self.simple = one_rule and self.by_kind_only and not self.live_only and not policy.param_kind
        """It has one rule, and an object is all it takes to evaluate it."""
        self._compiled: dict[tuple[str, bool], cel.Expression] = {}
        if not self.live_only and not (sound and self.simple):
            for expression in self._main():
                self._program(expression, short=True)

    def answer(self) -> str:
        """An expression that gives a list: _PASSES, _NOT_MEANT, or _BROKEN with message and audit annotations."""
        (rule,) = self.policy.validations
        conditions = [f"({put_in_place(entry.expression, self._short)})" for entry in self.policy.conditions]
        telling = [rule.message_expression or "''", *(entry.expression for entry in self.policy.audit)]
        told = ", ".join(put_in_place(text, self._short) for text in telling)
        met, right = " && ".join(conditions) or "true", put_in_place(rule.expression, self._short)
        return f"(({met}) ? (({right}) ? ['{_PASSES}'] : ['{_BROKEN}', {told}]) : ['{_NOT_MEANT}'])"

    def told(self, answer: Sequence[str]) -> Violation:
        """The violation that an answer tells."""
        (rule,) = self.policy.validations
        message, *values = answer
        audit = {entry.name: value or "" for entry, value in zip(self.policy.audit, values)}  # null means none
        return Violation(self.policy, message or _said_plainly(rule), audit)

    def judge(self, scope: _Scope, params: Obj | None) -> list[Violation] | None:
        """The rules broken, None if the policy does not mean the object. Raises EvaluationError."""
        if self.live_only:
            raise EvaluationError(f"not evaluated: {', '.join(self.live_only)} is known only to a live request")
        if self.policy.param_kind and params is None:
            raise EvaluationError(f"not evaluated: needs parameters ({self.policy.param_kind}), none were given")
        short = not self.shared & scope.failed
        activation = scope.with_params(params)
        if not self._meant(activation, short):
            return None
        broken = [rule for rule in self.policy.validations if not self._true(rule.expression, activation, short)]
        return [self._violation(rule, activation, short) for rule in broken]

    def _meant(self, activation: cel.Activation, short: bool) -> bool:
        """Whether all conditions hold; one that is false outweighs errors in others, as the standard has it."""
        errors = []
        for condition in self.policy.conditions:
            try:
                if not self._true(condition.expression, activation, short):
                    return False
            except EvaluationError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return True

    def _main(self) -> list[str]:
        conditions = [entry.expression for entry in self.policy.conditions]
        return conditions + [entry.expression for entry in self.policy.validations]

    def _telling(self) -> list[str]:
        """The expressions that only a violation needs."""
        messages = [entry.message_expression for entry in self.policy.validations]
        return messages + [entry.expression for entry in self.policy.audit]

    def _program(self, expression: str, short: bool) -> cel.Expression:
        key = expression, short
        if key not in self._compiled:
            try:
                text = put_in_place(expression, self._short if short else self._whole)
                self._compiled[key] = self._env.compile(text)
            except (InvalidPolicy, RuntimeError) as error:
                raise InvalidPolicy(f"{self.policy.name}: {expression}: {error}") from error
        return self._compiled[key]

    def _true(self, expression: str, activation: cel.Activation, short: bool) -> bool:
        result = self._program(expression, short).eval(activation)
        if result.type() != cel.Type.BOOL:
            raise EvaluationError(_said(result, expression))
        return result.plain_value() is True

    def _text(self, expression: str, activation: cel.Activation, short: bool) -> str:
        """A text, "" for null and for what cannot be evaluated (upstream falls back likewise)."""
        result = self._program(expression, short).eval(activation)
        return str(result.plain_value()) if result.type() == cel.Type.STRING else ""

    def _violation(self, rule: Validation, activation: cel.Activation, short: bool) -> Violation:
        message = self._text(rule.message_expression, activation, short) if rule.message_expression else ""
        audit = {entry.name: self._text(entry.expression, activation, short) for entry in self.policy.audit}
        return Violation(self.policy, message or _said_plainly(rule), audit)


def _shortened(policy: Policy, whole: Mapping[str, str], shared: Mapping[str, str]) -> dict[str, str]:
    """The policy's variables by name, those that others have too by the name they are bound to."""
    found: dict[str, str] = {}
    for variable in policy.variables:
        text = whole[variable.name]
        found[variable.name] = shared[text] if text in shared else put_in_place(variable.expression, found)
    return found


def _said_plainly(rule: Validation) -> str:
    return rule.message or f"failed expression: {rule.expression}"


def _said(result: cel.Value, expression: str) -> str:
    if result.type() == cel.Type.ERROR:
        return f"evaluation error: {str(result.value()).partition(': ')[2] or result.value()}"
    return f"evaluation error: {expression} gives {result.type().name()}, not a bool"
