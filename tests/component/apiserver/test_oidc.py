"""Tokens of an OpenID Connect issuer, from the issuer's keys over TLS to the user the API sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from edge_certificates import Certificates
from oidc_issuer import OidcIssuer, Signer, signed_by_public_key, unsigned

from pilothouse.apiserver.authentication.oidc.config import AuthenticationSettings, read_settings
from pilothouse.apiserver.authentication.oidc.tokens import OidcTokens
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.settings_file import InvalidSettings, SettingsFile
from pilothouse.client.wire import Request
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Cluster:
    """A server that believes the issuer as its file says."""

    def __init__(self, path: Path, issuer: OidcIssuer, plane: ControlPlane, clock: Clock) -> None:
        self.path = path
        self.issuer = issuer
        self.plane = plane
        self.clock = clock

    async def who(self, token: str) -> dict[str, Any] | int:
        """Whom the server takes the bearer for; the status of a refusal."""
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        reply = await self.plane.api.handle(Request("POST", REVIEWS, [], headers, orjson.dumps(body)))
        tree: dict[str, Any] = orjson.loads(reply.body)
        return tree["status"]["userInfo"] if reply.status == 201 else reply.status


def settings(issuer: OidcIssuer, certificates: Certificates, **entry: Any) -> dict[str, Any]:
    believed = {
        "issuer": {
            "url": issuer.url,
            "certificateAuthority": certificates.ca.read_text(),
            "audiences": ["cluster"],
        },
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "oidc:"},
        },
        **entry,
    }
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [believed]}


@pytest.fixture
async def issuer(certificates: Certificates) -> AsyncIterator[OidcIssuer]:
    running = OidcIssuer(certificates)
    await running.start()
    yield running
    await running.close()


@pytest.fixture
async def cluster(tmp_path: Path, issuer: OidcIssuer, certificates: Certificates) -> AsyncIterator[Cluster]:
    path, clock = tmp_path / "authentication.yaml", Clock()
    path.write_text(yaml.safe_dump(settings(issuer, certificates)))
    file: SettingsFile[AuthenticationSettings | None] = SettingsFile(path, read_settings, None, clock)
    oidc = OidcTokens(file.current, elapsed=clock)
    store = MemoryStore()
    chain = build_chain(store, key_pem(new_key()), "https://kubernetes.default.svc.cluster.local", oidc=oidc)
    async with ControlPlane(store=store, chain=chain) as plane:
        await _allow_everyone(plane)
        yield Cluster(path, issuer, plane, clock)


async def _allow_everyone(plane: ControlPlane) -> None:
    rule = {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}
    client = plane.client()
    await client.create_tree(ClusterRole.resource, {"metadata": {"name": "basic"}, "rules": [rule]})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "basic"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}
    binding = {"metadata": {"name": "basic"}, "roleRef": ref, "subjects": [subject]}
    await client.create_tree(ClusterRoleBinding.resource, binding)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512", "EdDSA"])
async def test_a_token_names_a_user_and_groups(cluster: Cluster, algorithm: str) -> None:
    signer = Signer("k1", algorithm)
    cluster.issuer.signers = [Signer("k0", "ES256"), signer]
    token = signer.token(cluster.issuer.claims(groups=["dev", "ops"]))
    expected = {"username": "oidc:ann", "groups": ["oidc:dev", "oidc:ops", "system:authenticated"]}
    assert await cluster.who(token) == expected
    assert await cluster.who(token) == expected
    assert cluster.issuer.asked == 1


async def test_tokens_that_are_not_good_are_refused(cluster: Cluster) -> None:
    signer, stranger, other = Signer("k1", "RS256"), Signer("k1", "RS256"), Signer("k2", "ES256")
    cluster.issuer.signers = [signer, other]
    claims = cluster.issuer.claims
    assert isinstance(await cluster.who(signer.token(claims())), dict)
    head, payload, signature = signer.token(claims()).split(".")
    changed = signer.token(claims(sub="root")).split(".")[1]
    bad = {
        "expired": signer.token(claims(exp=claims()["iat"] - 1)),
        "no end": signer.token({key: value for key, value in claims().items() if key != "exp"}),
        "not yet": signer.token(claims(nbf=claims()["iat"] + 3600)),
        "another audience": signer.token(claims(aud=["others"])),
        "no audience": signer.token({key: value for key, value in claims().items() if key != "aud"}),
        "another issuer": signer.token(claims(iss="https://elsewhere.example")),
        "forged": stranger.token(claims()),
        "changed": f"{head}.{changed}.{signature}",
        "cut": f"{head}.{payload}.",
        "no algorithm": unsigned(claims()),
        "the public key as a secret": signed_by_public_key(signer, claims()),
        "an algorithm of another key": other.token(claims(), kid="k1"),
        "another algorithm of the same type": signer.token(claims(), alg="PS256"),
        "unknown extensions": signer.token(claims(), crit=["exp"]),
        "not a name": signer.token(claims(sub=7)),
        "no name": signer.token(claims(sub="")),
        "groups that are no texts": signer.token(claims(groups=[1])),
        "garbage": "a.b.c",
    }
    assert {why: await cluster.who(token) for why, token in bad.items()} == dict.fromkeys(bad, 401)


async def test_the_issuer_changes_its_keys(cluster: Cluster) -> None:
    old, new = Signer("old", "ES256"), Signer("new", "ES256")
    cluster.issuer.signers = [old]
    token = old.token(cluster.issuer.claims())
    assert isinstance(await cluster.who(token), dict)
    cluster.issuer.signers = [new]
    fresh = new.token(cluster.issuer.claims())
    # Just fetched: a key that is not known must not make the server ask again and again.
    assert await cluster.who(fresh) == 401
    asked = cluster.issuer.asked
    cluster.clock.now += 11
    assert isinstance(await cluster.who(fresh), dict)
    assert cluster.issuer.asked == asked + 1
    # What the issuer has withdrawn is not good any more, though it was before.
    assert await cluster.who(token) == 401


async def test_an_issuer_that_is_away(cluster: Cluster) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers, cluster.issuer.down = [signer], True
    assert await cluster.who(signer.token(cluster.issuer.claims())) == 401
    cluster.issuer.down = False
    cluster.clock.now += 11
    assert isinstance(await cluster.who(signer.token(cluster.issuer.claims())), dict)
    cluster.issuer.down = True
    cluster.clock.now += 3601
    assert isinstance(await cluster.who(signer.token(cluster.issuer.claims(sub="bob"))), dict)


@pytest.mark.parametrize("change", [{"issuer": "https://another.example"}, {"jwks_uri": "http://127.0.0.1/keys"}])
async def test_a_discovery_document_that_does_not_fit(cluster: Cluster, change: dict[str, str]) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers = [signer]
    cluster.issuer.document.update(change)
    assert await cluster.who(signer.token(cluster.issuer.claims())) == 401


async def test_an_issuer_with_a_certificate_of_another_authority_is_not_asked(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers = [signer]
    stranger = Certificates(tmp_path_factory.mktemp("stranger"))
    cluster.path.write_text(yaml.safe_dump(settings(cluster.issuer, stranger)))
    cluster.clock.now += 2
    assert await cluster.who(signer.token(cluster.issuer.claims())) == 401
    assert cluster.issuer.asked == 0


async def test_expressions_map_and_check(cluster: Cluster, certificates: Certificates) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers = [signer]
    entry = {
        "claimMappings": {
            "username": {"expression": "claims.email_verified ? 'mail:' + claims.email : ''"},
            "groups": {"expression": "claims.roles.split(',').map(role, 'role:' + role)"},
            "uid": {"claim": "sub"},
            "extra": [{"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('')"}],
        },
        "claimValidationRules": [
            {"claim": "hd", "requiredValue": "example.org"},
            {"expression": "claims.exp - claims.iat <= 3600", "message": "lives too long"},
        ],
        "userValidationRules": [{"expression": "!user.groups.exists(g, g == 'role:banned')", "message": "banned"}],
    }
    cluster.path.write_text(yaml.safe_dump(settings(cluster.issuer, certificates, **entry)))
    cluster.clock.now += 2
    good = {"email": "ann@example.org", "email_verified": True, "roles": "a,b", "hd": "example.org", "tenant": "t"}
    claims = cluster.issuer.claims
    assert await cluster.who(signer.token(claims(**good))) == {
        "username": "mail:ann@example.org",
        "uid": "ann",
        "groups": ["role:a", "role:b", "system:authenticated"],
        "extra": {"example.org/tenant": ["t"]},
    }
    for change in (
        {"email_verified": False},
        {"roles": "a,banned"},
        {"hd": "elsewhere.org"},
        {"exp": claims()["iat"] + 7200},
        {"roles": 7},
    ):
        assert await cluster.who(signer.token(claims(**{**good, **change}))) == 401


async def test_no_issuer_makes_anybody_one_of_the_clusters_own(cluster: Cluster, certificates: Certificates) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers = [signer]
    plain = {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}
    cluster.path.write_text(yaml.safe_dump(settings(cluster.issuer, certificates, claimMappings=plain)))
    cluster.clock.now += 2
    claims = cluster.issuer.claims
    assert isinstance(await cluster.who(signer.token(claims(groups="dev"))), dict)
    assert await cluster.who(signer.token(claims(sub="system:admin"))) == 401
    assert await cluster.who(signer.token(claims(groups=["system:masters"]))) == 401


async def test_a_file_that_became_unusable_changes_nothing_and_one_that_is_gone_ends_it(cluster: Cluster) -> None:
    signer = Signer("k1", "ES256")
    cluster.issuer.signers = [signer]
    token = signer.token(cluster.issuer.claims())
    assert isinstance(await cluster.who(token), dict)
    cluster.path.write_text("jwt: [")
    cluster.clock.now += 2
    assert isinstance(await cluster.who(token), dict)
    cluster.path.unlink()
    cluster.clock.now += 2
    assert await cluster.who(token) == 401
    cluster.path.write_text("jwt: [")
    with pytest.raises(InvalidSettings, match=r"authentication\.yaml"):
        SettingsFile(cluster.path, read_settings, None)


async def test_nobody_without_credentials_where_that_is_switched_off(cluster: Cluster) -> None:
    tree = yaml.safe_load(cluster.path.read_text())
    tree["anonymous"] = {"enabled": True, "conditions": [{"path": "/livez"}]}
    cluster.path.write_text(yaml.safe_dump(tree))
    cluster.clock.now += 2
    assert (await cluster.plane.api.handle(Request("GET", "/version"))).status == 401
    assert (await cluster.plane.api.handle(Request("GET", "/livez"))).status == 403
