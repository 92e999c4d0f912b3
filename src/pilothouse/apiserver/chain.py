"""What every request passes on its way to the store: authenticate, authorise, admit.

The API server is handed these as objects; who decides lives in the folders `authentication`, `authorization` and
`admission`. All are asynchronous because another implementation may have to wait (a webhook, a policy worker).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pilothouse.client.wire import Request, User
from pilothouse.machinery.objects import Obj, Resource


class Authenticator(Protocol):
    """Says who asks."""

    async def authenticate(self, request: Request) -> User:
        """The user of a request, `request.user` (certificate, component) and headers considered (bearer token,
        impersonation is decided after authorisation, elsewhere). Raises `Unauthorized`."""


class Attributes(NamedTuple):
    """What a request wants to do, as authorisation sees it.

    For resources `verb` is get, list, watch, create, update, patch, delete, deletecollection (or impersonate, bind, …);
    for other paths it is the HTTP method in lower case, and only `path` is set. `name` is empty for collections, and
    for exec, attach and portforward `verb` is create whatever the HTTP method.
    """

    user: User
    verb: str
    path: str
    is_resource: bool = True
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Decision(NamedTuple):
    """Whether it is allowed, and the reason as shown to the user when it is not. `denied` ends the matter: no other
    authoriser is asked."""

    allowed: bool
    reason: str = ""
    denied: bool = False


class Authorizer(Protocol):
    """Says whether that user may do that."""

    async def allow(self, attributes: Attributes) -> Decision: ...


@dataclass(slots=True)
class AdmissionRequest:
    """One write as admission sees it; `object` may be changed in place.

    `operation` is CREATE, UPDATE, DELETE or CONNECT. `object` is None for DELETE, `old_object` is None for CREATE and
    CONNECT. A write through status, scale, binding, finalize or approval is an UPDATE of the whole object with that
    `subresource`; `token` is a CREATE of the TokenRequest; an eviction is a CREATE of the Eviction, and the DELETE it
    leads to; for CONNECT `object` is the options (`PodExecOptions`…). Append to `warnings` what the client is to read
    in `Warning` headers, put into `annotations` what the audit log is to hold; `options` are those of the request
    (`CreateOptions`…).
    """

    user: User
    operation: str
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""
    object: Obj | None = None
    old_object: Obj | None = None
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    options: Obj | None = None
    reshape: Callable[[Obj], None] | None = None
    """Brings an object that something outside of this program rewrote into its kind's shape, in place, and fills in
    its defaults. Raises `InternalError`."""


class Admission(Protocol):
    """Changes and checks what is written."""

    async def mutate(self, request: AdmissionRequest) -> None:
        """What may change the object, in place; before the kind's own rules. Raises `Forbidden` or other errors."""

    async def validate(self, request: AdmissionRequest) -> None:
        """What only looks; after the kind's own rules, at the object as it would be stored. Raises an `ApiError`."""

    async def admit(self, request: AdmissionRequest) -> None:
        """One after the other, for what no kind has rules about."""

    async def close(self) -> None:
        """Ends connections and processes it holds."""

    def reserved(self, request: AdmissionRequest) -> AbstractAsyncContextManager[None]:
        """What is scarce is held for a write that passed everything else, until the context ends: by then it is stored
        or has failed. Entering raises `Forbidden`."""


class TokenIssuer(Protocol):
    """Issues service account tokens (`serviceaccounts/token`)."""

    async def issue(self, service_account: Obj, token_request: Obj, user: User) -> Obj:
        """The TokenRequest with `status.token` and `status.expirationTimestamp`. Raises `Invalid`, `NotFound`."""


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """A question posted to a create-only resource, such as a SubjectAccessReview."""

    user: User
    resource: Resource
    namespace: str
    object: Obj


class Review(Protocol):
    """Answers a create-only resource: the object with its status filled in. Nothing is stored."""

    async def __call__(self, request: ReviewRequest) -> Obj: ...


@dataclass(frozen=True, slots=True)
class ReviewResource:
    """A create-only resource (`authorization.k8s.io/v1 SelfSubjectAccessReview`…) and who answers it."""

    resource: Resource
    singular: str
    answer: Review


@dataclass(frozen=True, slots=True)
class Chain:
    """All that the API server is handed besides its store."""

    authenticator: Authenticator
    authorizer: Authorizer
    admission: Admission
    token_issuer: TokenIssuer | None = None
    reviews: tuple[ReviewResource, ...] = ()
    documents: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    """Public JSON documents by path, such as `/openid/v1/jwks`."""
    ends: tuple[Callable[[], Awaitable[None]], ...] = ()
    """What is to be called when the server is closed."""


class ObjectReader(Protocol):
    """How the parts of the chain read objects of the store without passing the chain again."""

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """A fresh tree of the object as it is now, or None. Never waits."""

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        """Fresh trees of all objects of the kind (of one namespace)."""

    def revision(self, resource: Resource) -> int:
        """Increases whenever an object of that kind changes: a key for what is derived from all of them."""
