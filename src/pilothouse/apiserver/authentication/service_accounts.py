"""Service account tokens: issued for a while, for an audience, and bound to an object whose end is theirs.

Source of claims and messages: KEP-1205 (bound service account tokens) and KEP-4193 (node and credential claims).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pilothouse.apiserver import refusals
from pilothouse.apiserver.authentication.jose import BadToken, SigningKey
from pilothouse.apiserver.authentication.names import authenticated
from pilothouse.apiserver.authentication.token_keys import TokenKeys
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.client.wire import User
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.errors import BadRequest, Conflict
from pilothouse.machinery.objects import Obj, Resource, parse_timestamp, timestamp

TOKEN_REQUEST = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", True)
PREFIX = "system:serviceaccount:"
_SHORTEST, _DEFAULT, _LONGEST = 600, 3600, 1 << 32
_AFTER_DELETION = dt.timedelta(seconds=60)
"""How long a token outlives the mark of deletion of what it is bound to, so that a pod can end in order."""
_BINDABLE = {"Pod": Pod.resource, "Secret": Secret.resource, "Node": Node.resource}
_CLAIM = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"
_REMEMBERED = 4096
"""Tokens whose user is not found out again while nothing it depends on has changed."""


class _Known(NamedTuple):
    """Whom a token was found to be, until when, and the revisions of the kinds that this was seen in."""

    user: User
    shared: list[str]
    until: float
    seen: tuple[tuple[Resource, int], ...]


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


class ServiceAccountTokens:
    """Issues tokens (the chain's `TokenIssuer`) and recognises them. `audiences` are the API's own."""

    def __init__(
        self,
        objects: ObjectReader,
        key: SigningKey | TokenKeys,
        issuer: str,
        audiences: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._objects = objects
        self._key = key
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._now = now
        self._known: dict[bytes, _Known] = {}
        """By the hash of the token, for the API's own audiences."""

    async def issue(self, service_account: Obj, token_request: Obj, user: User) -> Obj:
        """The TokenRequest with its token. Raises Invalid, NotFound, Conflict, BadRequest."""
        spec = token_request.get("spec") or {}
        meta = service_account["metadata"]
        seconds = spec.get("expirationSeconds") or _DEFAULT
        _check_seconds(meta["name"], seconds)
        audiences = spec.get("audiences") or list(self.audiences)
        private: dict[str, Any] = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        if spec.get("boundObjectRef"):
            private |= self._bind(meta, spec["boundObjectRef"])
        now = int(self._now())
        token = self._key.sign(
            {
                "aud": audiences,
                "exp": now + seconds,
                "iat": now,
                "iss": self.issuer,
                "jti": str(uuid.uuid4()),
                _CLAIM: private,
                "nbf": now,
                "sub": f"{PREFIX}{meta['namespace']}:{meta['name']}",
            }
        )
        end = timestamp(dt.datetime.fromtimestamp(now + seconds, dt.UTC))
        return {
            **token_request,
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "creationTimestamp": timestamp()},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": end},
        }

    def _bind(self, account: Obj, reference: Obj) -> dict[str, Any]:
        """The claims for the object a token is to be bound to, once it was found to fit."""
        kind, name, uid = (str(reference.get(key) or "") for key in ("kind", "name", "uid"))
        resource = _BINDABLE.get(kind)
        if resource is None or reference.get("apiVersion", "v1") != "v1":
            raise BadRequest(f"cannot bind token to a {kind or 'object'}: bind to a Pod, Secret or Node of version v1")
        found = self._objects.get(resource, account["namespace"] if resource.namespaced else "", name)
        if found is None:
            raise refusals.not_found(resource, name)
        if uid and uid != found["metadata"]["uid"]:
            raise Conflict(
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
                group=resource.group,
                kind=resource.plural,
                name=name,
            )
        claims = {kind.lower(): {"name": name, "uid": found["metadata"]["uid"]}}
        if kind == "Pod":
            pod_spec = found.get("spec") or {}
            if (pod_spec.get("serviceAccountName") or "default") != account["name"]:
                raise BadRequest(
                    f'cannot bind token for serviceaccount "{account["name"]}" to pod running with different '
                    "serviceaccount name."
                )
            node_name = pod_spec.get("nodeName")
            node = self._objects.get(Node.resource, "", node_name) if node_name else None
            if node_name:
                uids = {"uid": node["metadata"]["uid"]} if node is not None else {}
                claims["node"] = {"name": node_name, **uids}
        return claims

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """The user, and which of the audiences asked for (default: the API's own) the token is for.

        Raises BadToken when signature, issuer, time, audience, the account or the bound object do not hold.
        """
        if audiences:
            user, shared, *_ = self._recognise(token, audiences)
            return user, shared
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None or not self._holds(known):
            self._known.pop(digest, None)
            known = self._recognise(token, self.audiences)
            if known.until:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[digest] = known
        return known.user, known.shared

    def _holds(self, known: _Known) -> bool:
        revision = self._objects.revision
        return self._now() < known.until and all(revision(resource) == seen for resource, seen in known.seen)

    def _recognise(self, token: str, audiences: Sequence[str]) -> _Known:
        """`until` is 0 for what must be found out anew each time."""
        claims = self._key.verify(token)
        now = self._now()
        if claims.get("iss") != self.issuer:
            raise BadToken("another issuer")
        if not isinstance(claims.get("exp"), int) or claims["exp"] <= now:
            raise BadToken("the token has expired")
        if claims.get("nbf", 0) > now + 1:
            raise BadToken("the token is not valid yet")
        given = claims.get("aud") or []
        shared = [audience for audience in audiences if audience in given]
        if not shared:
            raise BadToken(f"the token is for other audiences: {given}")
        revision = self._objects.revision
        checked = [ServiceAccount.resource, *_bound(claims)]
        seen = tuple((resource, revision(resource)) for resource in checked)
        user, ending = self._user(claims)
        return _Known(authenticated(user), shared, 0.0 if ending else claims["exp"], seen)

    def _user(self, claims: dict[str, Any]) -> tuple[User, bool]:
        """The user, and whether something the token depends on is being deleted. Raises BadToken."""
        private = claims.get(_CLAIM) or {}
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        ending = self._check_alive(ServiceAccount.resource, namespace, account)
        extra = {_EXTRA + "credential-id": (f"JTI={claims.get('jti', '')}",)}
        for claim in ("pod", "secret", "node"):
            bound = private.get(claim)
            if not bound:
                continue
            if claim != "node" or "pod" not in private:
                resource = _BINDABLE[claim.capitalize()]
                ending |= self._check_alive(resource, namespace if resource.namespaced else "", bound)
            if claim != "secret":
                extra[f"{_EXTRA}{claim}-name"] = (bound["name"],)
                if bound.get("uid"):
                    extra[f"{_EXTRA}{claim}-uid"] = (bound["uid"],)
        name = f"{PREFIX}{namespace}:{account.get('name')}"
        return User(name, account_groups(namespace), account["uid"], extra), ending

    def _check_alive(self, resource: Resource, namespace: str, bound: dict[str, str]) -> bool:
        """Whether the object is being deleted. Raises BadToken."""
        found = self._objects.get(resource, namespace, bound.get("name", ""))
        if found is None or found["metadata"].get("uid") != bound.get("uid"):
            raise BadToken(f"its {resource.kind} {namespace}/{bound.get('name')} is gone")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and parse_timestamp(deleted) + _AFTER_DELETION < dt.datetime.fromtimestamp(self._now(), dt.UTC):
            raise BadToken(f"its {resource.kind} {namespace}/{bound.get('name')} is being deleted")
        return bool(deleted)


def _bound(claims: dict[str, Any]) -> list[Resource]:
    """The kinds of the objects that a token is bound to."""
    private = claims.get(_CLAIM) or {}
    return [resource for kind, resource in _BINDABLE.items() if private.get(kind.lower())]


def _check_seconds(name: str, seconds: int) -> None:
    problems = Problems()
    if seconds < _SHORTEST:
        problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _LONGEST:
        problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if problems:
        raise invalid_error(TOKEN_REQUEST, name, problems)
