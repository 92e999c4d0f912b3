"""Many policies answered in few evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cel_expr_python import cel

from pilothouse.policy.compiled import BROKEN, Compiled, Scope
from pilothouse.policy.verdict import Answer

_GROUP = 12
"""Policies that are answered in one evaluation. Compiling as many takes some 20 ms, during which nothing else runs."""


class Together:
    """The rules of many policies in few expressions, since one evaluation costs more than what most rules do in it.

    Where there is an error in one nothing is known of its group, and each policy is evaluated by itself, to say where.
    """

    def __init__(
        self, env: cel.Env, policies: Sequence[Compiled], compiled: dict[tuple[str, ...], cel.Expression]
    ) -> None:
        """`compiled` holds the expressions of all kinds, by the names of their policies."""
        self._env = env
        self.policies = policies
        self._compiled = compiled
        alike: dict[str, list[Compiled]] = {}
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

    def answers(self, scope: Scope) -> dict[str, Answer]:
        """By name of policy, of those of which something is known: PASSES, NOT_MEANT, or how it is broken."""
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
                known[policy.policy.name] = policy.told(answer[1:]) if answer[0] == BROKEN else answer[0]
        return known
