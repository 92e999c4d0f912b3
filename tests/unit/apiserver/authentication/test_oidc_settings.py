from typing import Any

import pytest

from pilothouse.apiserver.authentication.oidc.config import read_settings
from pilothouse.apiserver.settings_file import InvalidSettings

OWN = "https://kubernetes.default.svc.cluster.local"


def configuration(**entry: Any) -> dict[str, Any]:
    username = {"claim": "sub", "prefix": ""}
    issuer = {"url": "https://issuer.example", "audiences": ["a"]}
    found = {"issuer": issuer, "claimMappings": {"username": username}, **entry}
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [found]}


def issuer(**fields: Any) -> dict[str, Any]:
    return configuration(issuer={"url": "https://issuer.example", "audiences": ["a"], **fields})


def mapped(**fields: Any) -> dict[str, Any]:
    return configuration(claimMappings={"username": {"claim": "sub", "prefix": ""}, **fields})


def test_the_least_that_is_needed() -> None:
    assert read_settings(configuration(), OWN).jwt[0].issuer.audiences == ["a"]


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({**configuration(), "kind": "Config"}, "not apiserver.config.k8s.io/v1 AuthenticationConfiguration"),
        ({**configuration(), "jwts": []}, "unknown field `jwts`"),
        ([], "Expected `object`"),
        (issuer(url=OWN), "is used already"),
        (issuer(url="http://issuer.example"), r"jwt\[0\].issuer.url: .* must be an https URL"),
        (issuer(url="https://user@issuer.example"), "without user"),
        (issuer(discoveryURL="https://issuer.example/"), "must be different from the url"),
        (issuer(audiences=[]), r"jwt\[0\].issuer.audiences: at least one"),
        (issuer(audiences=["a", "b"]), "must be MatchAny"),
        (issuer(certificateAuthority="nothing"), "no PEM certificate"),
        (issuer(egressSelectorType="cluster"), "no egress selectors"),
        (configuration(claimMappings={}), "username: claim or expression is needed"),
        (mapped(username={"claim": "sub"}), r"username.prefix: is needed beside claim"),
        (mapped(username={"claim": "sub", "prefix": "", "expression": "'a'"}), "exclude one another"),
        (mapped(username={"expression": "1 + 1"}), "must evaluate to string"),
        (mapped(username={"expression": "claims."}), "username.expression: "),
        (mapped(username={"expression": "claims.email"}), "claims.email_verified must be used"),
        (mapped(groups={"expression": "claims.g", "prefix": "x"}), "put it into the expression"),
        (mapped(extra=[{"key": "NoDomain", "valueExpression": "'a'"}]), "must be DOMAIN/PATH"),
        (mapped(extra=[{"key": "authentication.kubernetes.io/a", "valueExpression": "'a'"}]), "not of k8s.io"),
        (mapped(extra=[{"key": "example.org/a"}]), "valueExpression: is needed"),
        (configuration(claimValidationRules=[{"claim": "a", "expression": "true"}]), "exactly one of claim"),
        (configuration(claimValidationRules=[{"claim": "a", "message": "m"}]), "message: goes with expression"),
        (configuration(userValidationRules=[{"expression": "claims.a"}]), "undeclared"),
        ({**configuration(), "anonymous": {"enabled": False, "conditions": [{"path": "/a"}]}}, "anonymous.conditions"),
    ],
)
def test_what_cannot_be_used_is_named(tree: Any, why: str) -> None:
    with pytest.raises(InvalidSettings, match=why):
        read_settings(tree, OWN)
