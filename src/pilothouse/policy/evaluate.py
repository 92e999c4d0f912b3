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
from typing import NamedTuple

from cel_expr_python import cel

from pilothouse.machinery.objects import Obj
from pilothouse.policy.compiled import PASSES, Compiled, Scope, written_out
from pilothouse.policy.load import Policy
from pilothouse.policy.match import Subject, matches
from pilothouse.policy.together import Together
from pilothouse.policy.verdict import Answer, EvaluationError, NotChecked, Verdict, Violation

_ROOTS = ("object", "oldObject", "params", "namespaceObject")
_CONFIG = '{"name": "checks", "extensions": [{"name": "optional"}, {"name": "strings"}]}'
"""By name: the modules that hold the same extensions take 5 MB more."""
_MOST_REMEMBERED = 4096


class Essence(NamedTuple):
    """Which policies look at a part of an object only, and the digest of that part (None: it has none). Their answers
    are remembered by the digest."""

    enough_for: Callable[[Policy], bool]
    of: Callable[[Obj], bytes | None]


class _OfKind(NamedTuple):
    """Policies with a rule for a kind, those among them that are answered together, and by the essence alone."""

    policies: Sequence[Compiled]
    together: Together
    by_essence: Together


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
        self._policies = [Compiled(self._env, policy, shared, sound) for policy in found]
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
        scope = Scope(self._env, self._programs, subject.tree, shared)
        violations: list[Violation] = []
        not_checked: list[NotChecked] = []
        passed: list[Policy] = []
        if not known:
            known = self._remember(digest, of_kind.by_essence.answers(scope))
        known.update(of_kind.together.answers(scope))
        for compiled in wanted:
            answer = known.get(compiled.policy.name)
            if answer is not None:
                if answer == PASSES:
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
            together, by_essence = (Together(self._env, part, self._answers) for part in (rest, enough))
            self._by_kind[key] = _OfKind(found, together, by_essence)
        return self._by_kind[key]


def _without_scope(constraints: Obj) -> list[Obj]:
    return [
        {key: value for key, value in rule.items() if key not in ("scope", "resourceNames")}
        for rule in constraints.get("resourceRules") or ()
    ]


def _shared(policies: Sequence[Policy]) -> dict[str, str]:
    """The variables that several policies have in common, fully written out, each with the name it is bound to."""
    counts = Counter(text for policy in policies for text in set(written_out(policy).values()))
    return {text: f"shared_{index}" for index, text in enumerate(t for t, count in counts.items() if count > 1)}
