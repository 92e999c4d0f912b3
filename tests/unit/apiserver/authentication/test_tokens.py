import base64
import datetime as dt
from typing import Any

import orjson
import pytest

from pilothouse.apiserver.authentication.authenticator import TokenAuthenticator
from pilothouse.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from pilothouse.apiserver.authentication.documents import DISCOVERY_PATH, JWKS_PATH, documents
from pilothouse.apiserver.authentication.jose import BadToken, SigningKey
from pilothouse.apiserver.authentication.service_accounts import ServiceAccountTokens
from pilothouse.apiserver.authentication.token_keys import TokenKeys
from pilothouse.apiserver.chain import Attributes, Decision
from pilothouse.client.wire import Request, User
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.machinery.errors import BadRequest, Conflict, Forbidden, Invalid, Unauthorized
from pilothouse.machinery.objects import Obj, Resource

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Objects:
    """An object reader over a dictionary."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, str], Obj] = {}
        self.changes = 0

    def put(self, plural: str, namespace: str, name: str, **fields: Any) -> Obj:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", **fields.pop("metadata", {})}
        obj = self.held[plural, namespace, name] = {"metadata": meta, **fields}
        self.changes += 1
        return obj

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        return self.held.get((resource.plural, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return [obj for key, obj in self.held.items() if key[0] == resource.plural and namespace in ("", key[1])]

    def revision(self, resource: Resource) -> int:
        return self.changes


class Rights:
    """An authoriser that allows what its table holds."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = set(allowed)

    async def allow(self, attributes: Attributes) -> Decision:
        return Decision((attributes.resource, attributes.name) in self.allowed)


KEY = SigningKey(key_pem(new_key()))


@pytest.fixture
def objects() -> Objects:
    held = Objects()
    held.put("serviceaccounts", "shop", "web")
    held.put("pods", "shop", "web-1", spec={"serviceAccountName": "web", "nodeName": "n1"})
    held.put("nodes", "", "n1")
    return held


def tokens(objects: Objects, now: float = 1_000_000.0) -> ServiceAccountTokens:
    return ServiceAccountTokens(objects, KEY, ISSUER, now=lambda: now)


async def issue(objects: Objects, **spec: Any) -> str:
    account = objects.held["serviceaccounts", "shop", "web"]
    issued = await tokens(objects).issue(account, {"spec": spec}, User("u"))
    text: str = issued["status"]["token"]
    return text


async def test_a_bound_token_tells_account_pod_and_node(objects: Objects) -> None:
    token = await issue(objects, boundObjectRef={"kind": "Pod", "name": "web-1", "uid": "uid-web-1"})
    user, audiences = tokens(objects).verify(token)
    assert user.name == "system:serviceaccount:shop:web"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("web-1",)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert audiences == [ISSUER]


async def test_a_token_that_was_good_ends_all_the_same(objects: Objects) -> None:
    """One recogniser throughout: what it remembers must not outlive what it rests on."""
    now = 1_000_000.0
    recogniser = ServiceAccountTokens(objects, KEY, ISSUER, now=lambda: now)
    token = await issue(objects, boundObjectRef={"kind": "Pod", "name": "web-1"})
    assert recogniser.verify(token) == recogniser.verify(token)
    deleted = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"serviceAccountName": "web", "nodeName": "n1"}
    objects.put("pods", "shop", "web-1", spec=spec, metadata={"deletionTimestamp": deleted})
    recogniser.verify(token)
    now += 61
    with pytest.raises(BadToken, match="being deleted"):
        recogniser.verify(token)
    objects.put("pods", "shop", "web-1", spec=spec)
    recogniser.verify(token)
    objects.put("serviceaccounts", "shop", "web", metadata={"uid": "another"})
    with pytest.raises(BadToken, match="gone"):
        recogniser.verify(token)
    objects.put("serviceaccounts", "shop", "web")
    recogniser.verify(token)
    now += 3600
    with pytest.raises(BadToken, match="expired"):
        recogniser.verify(token)


async def test_a_token_ends_with_its_time_pod_account_or_uid(objects: Objects) -> None:
    token = await issue(objects, boundObjectRef={"kind": "Pod", "name": "web-1"})
    with pytest.raises(BadToken, match="expired"):
        tokens(objects, 1_000_000.0 + 3600).verify(token)
    objects.put("pods", "shop", "web-1", metadata={"uid": "another"})
    with pytest.raises(BadToken, match="gone"):
        tokens(objects).verify(token)
    del objects.held["serviceaccounts", "shop", "web"]
    with pytest.raises(BadToken, match="ServiceAccount"):
        tokens(objects).verify(token)


async def test_audiences_are_kept_apart(objects: Objects) -> None:
    token = await issue(objects, audiences=["vault"])
    with pytest.raises(BadToken, match="audiences"):
        tokens(objects).verify(token)
    assert tokens(objects).verify(token, ["vault", "other"])[1] == ["vault"]


async def test_forged_tokens_are_refused(objects: Objects) -> None:
    token = await issue(objects)
    head, payload, signature = token.split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    forged = base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=").decode()
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    stranger = SigningKey(key_pem(new_key())).sign(claims)
    for bad in (f"{head}.{forged}.{signature}", f"{unsigned}.{payload}.", stranger, "x.y", f"{head}.{payload}.AAAA"):
        with pytest.raises(BadToken):
            tokens(objects).verify(bad)


async def test_what_cannot_be_bound_is_refused(objects: Objects) -> None:
    with pytest.raises(Conflict, match="UID"):
        await issue(objects, boundObjectRef={"kind": "Pod", "name": "web-1", "uid": "old"})
    with pytest.raises(BadRequest, match="Deployment"):
        await issue(objects, boundObjectRef={"kind": "Deployment", "name": "web"})
    objects.put("pods", "shop", "other", spec={"serviceAccountName": "other"})
    with pytest.raises(BadRequest, match="different serviceaccount"):
        await issue(objects, boundObjectRef={"kind": "Pod", "name": "other"})
    with pytest.raises(Invalid, match="10 minutes"):
        await issue(objects, expirationSeconds=60)


def put_bootstrap(objects: Objects, **data: str) -> None:
    fields = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **data,
    }
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()}
    objects.put("secrets", "kube-system", "bootstrap-token-abcdef", type="bootstrap.kubernetes.io/token", data=encoded)


def bootstrap(objects: Objects) -> BootstrapTokens:
    return BootstrapTokens(objects, lambda: dt.datetime(2026, 11, 1, tzinfo=dt.UTC))


def test_a_bootstrap_token_is_a_bootstrapper(objects: Objects) -> None:
    put_bootstrap(objects, expiration="2026-11-02T00:00:00Z")
    user = bootstrap(objects).verify("abcdef.0123456789abcdef")
    assert (user.name, user.groups) == ("system:bootstrap:abcdef", ("system:bootstrappers",))


@pytest.mark.parametrize(
    ("data", "token"),
    [
        ({"expiration": "2026-10-31T00:00:00Z"}, "abcdef.0123456789abcdef"),
        ({"expiration": "soon"}, "abcdef.0123456789abcdef"),
        ({"usage-bootstrap-authentication": "false"}, "abcdef.0123456789abcdef"),
        ({"auth-extra-groups": "system:masters"}, "abcdef.0123456789abcdef"),
        ({}, "abcdef.0123456789abcdeX"),
        ({}, "abcdef.0123456789abcdee"),
        ({}, "abcdeg.0123456789abcdef"),
    ],
)
def test_bad_bootstrap_tokens(objects: Objects, data: dict[str, str], token: str) -> None:
    put_bootstrap(objects, **data)
    with pytest.raises(BadToken):
        bootstrap(objects).verify(token)


def authenticator(objects: Objects, *rights: tuple[str, str]) -> TokenAuthenticator:
    return TokenAuthenticator(tokens(objects), bootstrap(objects), Rights(*rights))


async def test_ways_to_say_who_one_is(objects: Objects) -> None:
    chain = authenticator(objects)
    token = await issue(objects)
    anonymous = await chain.authenticate(Request("GET", "/api"))
    assert (anonymous.name, anonymous.groups) == ("system:anonymous", ("system:unauthenticated",))
    bearer = await chain.authenticate(Request("GET", "/api", headers={"authorization": f"Bearer {token}"}))
    assert bearer.groups[-1] == "system:authenticated"
    component = await chain.authenticate(Request("GET", "/api", user=User("system:kube-scheduler")))
    assert component.groups == ("system:authenticated",)
    for header in ("Bearer nonsense", "Basic YTpi"):
        with pytest.raises(Unauthorized):
            await chain.authenticate(Request("GET", "/api", headers={"authorization": header}))


async def test_impersonation_takes_the_right_to_each_thing(objects: Objects) -> None:
    headers = {"impersonate-user": "jane", "impersonate-group": "dev, ops", "impersonate-extra-scopes": "view"}
    request = Request("GET", "/api", headers=headers, user=User("root"))
    full = (("users", "jane"), ("groups", "dev"), ("groups", "ops"), ("userextras", "view"))
    user = await authenticator(objects, *full).authenticate(request)
    assert user == User("jane", ("dev", "ops", "system:authenticated"), "", {"scopes": ("view",)})
    for missing in full:
        with pytest.raises(Forbidden, match=missing[1]):
            await authenticator(objects, *(right for right in full if right != missing)).authenticate(request)
    with pytest.raises(BadRequest):
        await authenticator(objects).authenticate(Request("GET", "/api", headers={"impersonate-group": "dev"}))


def test_published_keys_verify_nothing_private() -> None:
    published = documents(ISSUER, TokenKeys(KEY))
    assert orjson.loads(published[DISCOVERY_PATH]())["jwks_uri"] == ISSUER + JWKS_PATH
    assert orjson.loads(published[JWKS_PATH]())["keys"][0].keys() == {"use", "kty", "kid", "crv", "alg", "x", "y"}


def test_a_signature_is_checked_once_and_a_changed_token_anew() -> None:
    key = SigningKey(key_pem(new_key()))
    token = key.sign({"sub": "a"})
    assert [key.verify(token) for _ in range(2)] == [{"sub": "a"}] * 2
    key.verify(token)["sub"] = "b"
    assert key.verify(token) == {"sub": "a"}
    with pytest.raises(BadToken):
        key.verify(token[:-8] + "AAAAAAAA")
