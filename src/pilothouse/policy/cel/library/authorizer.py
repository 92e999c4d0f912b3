"""Questions to the authoriser. Source: Kubernetes `library/authz.go`.

A value of type Authorizer holds a function that answers `Question`s. It may raise `Unanswered` when the answer takes
waiting: the caller then finds the answer and evaluates again.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

from pilothouse.machinery import names
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import Opaque

_CHECK_COST = 350_000
"""Upstream's: two questions fit into an expression."""


class Question(NamedTuple):
    """May somebody do that? `service_account` is `namespace:name`, "" for the one who sent the request."""

    service_account: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    verb: str = ""


_ANYTHING = Question()


class Answer(NamedTuple):
    """What the authoriser says."""

    allowed: bool
    reason: str = ""
    error: str = ""


Decide = Callable[[Question], Answer]


class Unanswered(Exception):
    """The answer is not at hand."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"not answered yet: {question}")
        self.question = question


class _Asking(Opaque):
    """A question half asked."""

    __slots__ = ("decide", "question")

    def __init__(self, decide: Decide, question: Question) -> None:
        self.decide = decide
        self.question = question

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _Asking) and other.question == self.question

    def __hash__(self) -> int:
        return hash(self.question)


class Authorizer(_Asking):
    """The variable `authorizer`."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.Authorizer"

    def __init__(self, decide: Decide, question: Question = _ANYTHING) -> None:
        super().__init__(decide, question)


class PathCheck(_Asking):
    """About a path that is no resource."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.PathCheck"


class GroupCheck(_Asking):
    """About an API group."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.GroupCheck"


class ResourceCheck(_Asking):
    """About a resource: `authorizer.requestResource` is one."""

    __slots__ = ()
    TYPE = "kubernetes.authorization.ResourceCheck"


class Decision(Opaque):
    """An answer."""

    __slots__ = ("answer",)
    TYPE = "kubernetes.authorization.Decision"

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and other.answer == self.answer

    def __hash__(self) -> int:
        return hash(self.answer)


@function("Authorizer.path(string) -> PathCheck")
def _(budget: Budget, value: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(value.decide, value.question._replace(path="/" + path.lstrip("/")))


@function("Authorizer.group(string) -> GroupCheck")
def _(budget: Budget, value: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(value.decide, value.question._replace(group=group))


@function("Authorizer.serviceAccount(string, string) -> Authorizer")
def _(budget: Budget, value: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns1123_subdomain(name):
        raise EvaluationError(f"Invalid service account name: {name}")
    if names.dns1123_label(namespace):
        raise EvaluationError(f"Invalid service account namespace: {namespace}")
    return Authorizer(value.decide, value.question._replace(service_account=f"{namespace}:{name}"))


@function("GroupCheck.resource(string) -> ResourceCheck")
def _(budget: Budget, value: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(value.decide, value.question._replace(resource=resource))


def _narrowing(field: str) -> None:
    @function(f"ResourceCheck.{field}(string) -> ResourceCheck")
    def _(budget: Budget, value: ResourceCheck, text: str) -> ResourceCheck:
        return ResourceCheck(value.decide, value.question._replace(**{field: text}))


for _field in ("subresource", "namespace", "name"):
    _narrowing(_field)


def _selector_cost(_value: Any, text: str) -> int:
    return 10 + ceil(len(text) * costs.TRAVERSAL) + ceil(ceil(len(text) / 2) * 50)


@function(
    "ResourceCheck.fieldSelector(string) -> ResourceCheck",
    "ResourceCheck.labelSelector(string) -> ResourceCheck",
    cost=_selector_cost,
)
def _(budget: Budget, value: ResourceCheck, selector: str) -> ResourceCheck:
    # RBAC does not look at selectors: a rule allows a list whatever it selects.
    return value


@function("PathCheck.check(string) -> Decision", "ResourceCheck.check(string) -> Decision", cost=lambda *_: _CHECK_COST)
def _(budget: Budget, value: _Asking, verb: str) -> Decision:
    return Decision(value.decide(value.question._replace(verb=verb)))


@function("Decision.allowed() -> bool")
def _(budget: Budget, value: Decision) -> bool:
    return value.answer.allowed


@function("Decision.reason() -> string")
def _(budget: Budget, value: Decision) -> str:
    return value.answer.reason


@function("Decision.errored() -> bool")
def _(budget: Budget, value: Decision) -> bool:
    return bool(value.answer.error)


@function("Decision.error() -> string")
def _(budget: Budget, value: Decision) -> str:
    return value.answer.error
