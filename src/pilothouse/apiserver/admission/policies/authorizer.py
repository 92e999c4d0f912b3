"""Answers what expressions ask the authoriser: `authorizer.group('').resource('pods').check('create').allowed()`."""

from __future__ import annotations

from pilothouse.apiserver.chain import Attributes, Authorizer
from pilothouse.client.wire import User
from pilothouse.policy.cel.library.authorizer import Answer, Question

_ALL_ACCOUNTS = "system:serviceaccounts"


async def answer(authorizer: Authorizer, user: User, question: Question) -> Answer:
    """The authoriser's word on a question of that user's request."""
    if question.service_account:
        namespace, _, name = question.service_account.partition(":")
        groups = (_ALL_ACCOUNTS, f"{_ALL_ACCOUNTS}:{namespace}", "system:authenticated")
        user = User(f"system:serviceaccount:{namespace}:{name}", groups)
    attributes = Attributes(
        user,
        question.verb,
        question.path,
        not question.path,
        question.group,
        "*",
        question.resource,
        question.subresource,
        question.namespace,
        question.name,
    )
    decision = await authorizer.allow(attributes)
    return Answer(decision.allowed, decision.reason)
