"""Acting as somebody else by `Impersonate-*` headers, which takes the right to impersonate each thing named.

Source: Kubernetes documentation, "User impersonation".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pilothouse.apiserver.authentication.names import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED
from pilothouse.apiserver.authentication.service_accounts import PREFIX, account_groups
from pilothouse.apiserver.chain import Attributes, Authorizer
from pilothouse.client.wire import User
from pilothouse.machinery.errors import BadRequest, Forbidden

_HEADER = "impersonate-"
_EXTRA = "impersonate-extra-"
_GROUP = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class Wish:
    """Whom a request wants to act as."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def wish(headers: Mapping[str, str]) -> Wish | None:
    """The wish in a request's headers (several values of one header are joined by commas). Raises BadRequest."""
    if not any(name.startswith(_HEADER) for name in headers):
        return None
    extra = {unquote(name.removeprefix(_EXTRA)): _values(headers[name]) for name in headers if name.startswith(_EXTRA)}
    found = Wish(
        headers.get("impersonate-user", ""),
        headers.get("impersonate-uid", ""),
        _values(headers.get("impersonate-group", "")),
        extra,
    )
    if not found.user:
        raise BadRequest("Impersonate-Group, -Uid and -Extra headers need an Impersonate-User header beside them")
    return found


async def impersonate(user: User, wanted: Wish, authorizer: Authorizer) -> User:
    """The user as whom the request continues. Raises Forbidden naming what may not be impersonated."""
    for attributes in _questions(user, wanted):
        decision = await authorizer.allow(attributes)
        if not decision.allowed:
            what = f"{attributes.resource}/{attributes.subresource}".rstrip("/")
            where = f' in the namespace "{attributes.namespace}"' if attributes.namespace else " at the cluster scope"
            raise Forbidden(
                f'{attributes.resource} "{attributes.name}" is forbidden: User "{user.name}" cannot impersonate '
                f'resource "{what}" in API group "{attributes.group}"{where}'
                + (f": {decision.reason}" if decision.reason else ""),
                group=attributes.group,
                kind=attributes.resource,
                name=attributes.name,
            )
    account = _account(wanted.user)
    groups = wanted.groups
    if account is not None and not groups:
        groups = account_groups(account[0])
    implied = UNAUTHENTICATED if wanted.user == ANONYMOUS else AUTHENTICATED
    if implied not in groups:
        groups = (*groups, implied)
    return User(wanted.user, groups, wanted.uid, wanted.extra)


def _questions(user: User, wanted: Wish) -> Iterator[Attributes]:
    account = _account(wanted.user)
    if account is not None:
        yield _question(user, "", "serviceaccounts", account[1], namespace=account[0])
    else:
        yield _question(user, "", "users", wanted.user)
    for group in wanted.groups:
        yield _question(user, "", "groups", group)
    if wanted.uid:
        yield _question(user, _GROUP, "uids", wanted.uid)
    for key, values in wanted.extra.items():
        for value in values:
            yield _question(user, _GROUP, "userextras", value, subresource=key)


def _question(
    user: User, group: str, resource: str, name: str, *, namespace: str = "", subresource: str = ""
) -> Attributes:
    return Attributes(user, "impersonate", "", True, group, "v1", resource, subresource, namespace, name)


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user name."""
    if not name.startswith(PREFIX):
        return None
    namespace, colon, account = name.removeprefix(PREFIX).partition(":")
    return (namespace, account) if colon and namespace and account else None


def _values(text: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in text.split(",") if value.strip())
