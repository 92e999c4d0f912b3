"""Answers to "may I", "may they", "what may I", "whose token is this" and "who am I"."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.apiserver.authentication.authenticator import TokenAuthenticator
from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.authentication.service_accounts import ServiceAccountTokens
from pilothouse.apiserver.authorization.authorizer import MASTERS
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.authorization.rules import Rule
from pilothouse.apiserver.chain import Attributes, Authorizer, ReviewRequest, ReviewResource
from pilothouse.client.wire import User
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj, Resource, timestamp

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
_ALL = frozenset({"*"})


class Reviews:
    """The functions behind the review resources."""

    def __init__(
        self,
        authorizer: Authorizer,
        index: RbacIndex,
        authenticator: TokenAuthenticator,
        service_accounts: ServiceAccountTokens,
    ) -> None:
        self._authorizer = authorizer
        self._index = index
        self._authenticator = authenticator
        self._service_accounts = service_accounts

    def resources(self) -> tuple[ReviewResource, ...]:
        """All of them, for `Chain.reviews`."""
        names = (
            (_AUTHORIZATION, "SelfSubjectAccessReview", False, self.self_access),
            (_AUTHORIZATION, "SubjectAccessReview", False, self.access),
            (_AUTHORIZATION, "LocalSubjectAccessReview", True, self.access),
            (_AUTHORIZATION, "SelfSubjectRulesReview", False, self.self_rules),
            (_AUTHENTICATION, "TokenReview", False, self.token),
            (_AUTHENTICATION, "SelfSubjectReview", False, self.self_subject),
        )
        return tuple(
            ReviewResource(Resource(group, "v1", kind, f"{kind.lower()}s", namespaced), kind.lower(), answer)
            for group, kind, namespaced, answer in names
        )

    async def self_access(self, request: ReviewRequest) -> Obj:
        """SelfSubjectAccessReview."""
        return await self._decide(request, request.user)

    async def access(self, request: ReviewRequest) -> Obj:
        """SubjectAccessReview and LocalSubjectAccessReview."""
        spec = request.object.get("spec") or {}
        groups = tuple(spec.get("groups") or ())
        if not spec.get("user") and not groups:
            problems = Problems()
            problems.required("spec.user", "at least one of user or group must be specified")
            raise invalid_error(request.resource, "", problems)
        if request.resource.namespaced:
            asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
            if asked != request.namespace:
                raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {request.namespace}")
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        return await self._decide(request, User(spec.get("user") or "", groups, spec.get("uid") or "", extra))

    async def _decide(self, request: ReviewRequest, user: User) -> Obj:
        decision = await self._authorizer.allow(_attributes(request, user))
        status: Obj = {"allowed": decision.allowed}
        if decision.denied:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        return {**request.object, "status": status}

    async def self_rules(self, request: ReviewRequest) -> Obj:
        """SelfSubjectRulesReview: what the roles say; what the node authoriser adds for nodes is not listed."""
        namespace = (request.object.get("spec") or {}).get("namespace")
        if not namespace:
            raise BadRequest("no namespace on request")
        await self._index.catch_up()
        rules = list(dict.fromkeys(self._index.rules_for(request.user, namespace)))
        if MASTERS in request.user.groups:
            rules = [Rule(_ALL, _ALL, _ALL), Rule(_ALL, urls=_ALL), *rules]
        status = {
            "resourceRules": [rule.tree() for rule in _resource_rules(rules)],
            "nonResourceRules": [Rule(rule.verbs, urls=rule.urls).tree() for rule in rules if rule.urls],
            "incomplete": "system:nodes" in request.user.groups,
        }
        return {**request.object, "status": status}

    async def token(self, request: ReviewRequest) -> Obj:
        """TokenReview."""
        spec = request.object.get("spec") or {}
        token, audiences = spec.get("token") or "", spec.get("audiences") or []
        try:
            user, shared = await self._recognise(token, audiences)
        except BadToken as error:
            return {**request.object, "status": {"authenticated": False, "error": str(error), "user": {}}}
        status = {"authenticated": True, "user": user_tree(user), "audiences": shared}
        return {**request.object, "status": status}

    async def _recognise(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]]:
        user = await self._authenticator.other_user(token)
        if user is None:
            return self._service_accounts.verify(token, audiences)
        own = self._service_accounts.audiences
        shared = [audience for audience in audiences or own if audience in own]
        if not shared:
            raise BadToken("the token is good for this API only")
        return user, shared

    async def self_subject(self, request: ReviewRequest) -> Obj:
        """SelfSubjectReview."""
        meta = {**(request.object.get("metadata") or {}), "creationTimestamp": timestamp()}
        return {**request.object, "metadata": meta, "status": {"userInfo": user_tree(request.user)}}


def user_tree(user: User) -> Obj:
    """UserInfo as JSON."""
    tree: Obj = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        tree["uid"] = user.uid
    if user.extra:
        tree["extra"] = {key: list(values) for key, values in user.extra.items()}
    return tree


def _attributes(request: ReviewRequest, user: User) -> Attributes:
    spec = request.object.get("spec") or {}
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (other is None):
        problems = Problems()
        problems.invalid(
            "spec.resourceAttributes",
            resource,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
        raise invalid_error(request.resource, "", problems)
    if other is not None:
        return Attributes(user, other.get("verb", ""), other.get("path", ""), is_resource=False)
    asked = {name: value or "" for name, value in (resource or {}).items()}
    return Attributes(
        user,
        asked.get("verb", ""),
        "",
        True,
        asked.get("group", ""),
        asked.get("version", ""),
        asked.get("resource", ""),
        asked.get("subresource", ""),
        asked.get("namespace", ""),
        asked.get("name", ""),
    )


def _resource_rules(rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.resources]
