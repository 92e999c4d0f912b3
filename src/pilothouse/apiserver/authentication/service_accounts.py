"""Service account tokens: issued for a while, for an audience, and bound to an object whose end is theirs.

Source of claims and messages: KEP-1205 (bound service account tokens) and KEP-4193 (node and credential claims).
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from pilothouse.apiserver import refusals
from pilothouse.apiserver.authentication.jose import BadToken, SigningKey
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


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


class ServiceAccountTokens:
    """Issues tokens (the chain's `TokenIssuer`) and recognises them. `audiences` are the API's own."""

    def __init__(
        self,
        objects: ObjectReader,
        key: SigningKey,
        issuer: str,
        audiences: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._objects = objects
        self._key = key
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._now = now

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
        claims = self._key.verify(token)
        now = self._now()
        if claims.get("iss") != self.issuer:
            raise BadToken("another issuer")
        if not isinstance(claims.get("exp"), int) or claims["exp"] <= now:
            raise BadToken("the token has expired")
        if claims.get("nbf", 0) > now + 1:
            raise BadToken("the token is not valid yet")
        given = claims.get("aud") or []
        shared = [audience for audience in audiences or self.audiences if audience in given]
        if not shared:
            raise BadToken(f"the token is for other audiences: {given}")
        return self._user(claims), shared

    def _user(self, claims: dict[str, Any]) -> User:
        private = claims.get(_CLAIM) or {}
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        self._check_alive(ServiceAccount.resource, namespace, account)
        extra = {_EXTRA + "credential-id": (f"JTI={claims.get('jti', '')}",)}
        for claim in ("pod", "secret", "node"):
            bound = private.get(claim)
            if not bound:
                continue
            if claim != "node" or "pod" not in private:
                resource = _BINDABLE[claim.capitalize()]
                self._check_alive(resource, namespace if resource.namespaced else "", bound)
            if claim != "secret":
                extra[f"{_EXTRA}{claim}-name"] = (bound["name"],)
                if bound.get("uid"):
                    extra[f"{_EXTRA}{claim}-uid"] = (bound["uid"],)
        return User(f"{PREFIX}{namespace}:{account.get('name')}", account_groups(namespace), account["uid"], extra)

    def _check_alive(self, resource: Resource, namespace: str, bound: dict[str, str]) -> None:
        found = self._objects.get(resource, namespace, bound.get("name", ""))
        if found is None or found["metadata"].get("uid") != bound.get("uid"):
            raise BadToken(f"its {resource.kind} {namespace}/{bound.get('name')} is gone")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and parse_timestamp(deleted) + _AFTER_DELETION < dt.datetime.fromtimestamp(self._now(), dt.UTC):
            raise BadToken(f"its {resource.kind} {namespace}/{bound.get('name')} is being deleted")


def _check_seconds(name: str, seconds: int) -> None:
    problems = Problems()
    if seconds < _SHORTEST:
        problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _LONGEST:
        problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if problems:
        raise invalid_error(TOKEN_REQUEST, name, problems)
