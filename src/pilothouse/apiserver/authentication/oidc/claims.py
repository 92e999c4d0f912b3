"""From the claims of a token whose signature is good to a user. Pure.

What an issuer says never makes anybody one of the cluster's own: names and groups that begin with `system:` are
refused, whatever the mapping, which is stricter than upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.authentication.oidc.config import ClaimMappings, JwtSettings, compile_claims, compile_user
from pilothouse.client.wire import User
from pilothouse.policy import cel

_OWN: Final = "system:"
_SECONDS: Final = 0.2
"""What all expressions about one token may take: they run in the event loop."""
_EARLY: Final = 60.0
"""Seconds by which the issuer's clock may be ahead, for `nbf`."""


class ClaimsReader:
    """The mappings and rules of one issuer, compiled."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        mappings = settings.claim_mappings
        self._username = compile_claims(mappings.username.expression, ())
        self._groups = compile_claims(mappings.groups.expression, ())
        self._uid = compile_claims(mappings.uid.expression, ())
        self._extra = [(extra.key, compile_claims(extra.value_expression, ())) for extra in mappings.extra]
        self._rules = [(rule, compile_claims(rule.expression, ())) for rule in settings.claim_validation_rules]
        self._user_rules = [(rule, compile_user(rule.expression)) for rule in settings.user_validation_rules]

    def user(self, claims: Mapping[str, Any], now: float) -> tuple[User, float]:
        """Whom the claims name, and until when (seconds since 1970). Raises BadToken."""
        until = self._check_times_and_audience(claims, now)
        budget = cel.Budget(seconds=_SECONDS)
        self._check_claims(claims, budget)
        mappings = self._settings.claim_mappings
        name = self._name(claims, budget)
        groups = self._of(claims, "groups", mappings, self._groups, budget)
        uid = claims.get(mappings.uid.claim, "") if mappings.uid.claim else _run(self._uid, claims, "uid", budget) or ""
        if not isinstance(uid, str):
            raise BadToken("claimMappings.uid: is not a string")
        extra = {}
        for key, program in self._extra:
            values = _texts(_run(program, claims, f"extra {key}", budget), f"extra {key}")
            if values:
                extra[key] = values
        user = User(name, groups, uid, extra)
        for owned in (name, *groups):
            if owned.startswith(_OWN):
                raise BadToken(f"{owned!r} begins with {_OWN}, which is for the cluster's own")
        self._check_user(user, budget)
        return user, until

    def _check_times_and_audience(self, claims: Mapping[str, Any], now: float) -> float:
        issuer = self._settings.issuer
        if claims.get("iss") != issuer.url:
            raise BadToken("another issuer")
        given = claims.get("aud")
        audiences = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        if not any(audience in issuer.audiences for audience in audiences):
            raise BadToken(f"the token is for other audiences: {audiences}")
        until, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(until, int | float) or isinstance(until, bool) or until <= now:
            raise BadToken("the token has expired")
        if not isinstance(begins, int | float) or begins > now + _EARLY:
            raise BadToken("the token is not valid yet")
        return float(until)

    def _check_claims(self, claims: Mapping[str, Any], budget: cel.Budget) -> None:
        for rule, program in self._rules:
            if program is None:
                if claims.get(rule.claim) != rule.required_value:
                    raise BadToken(f"claim {rule.claim} is not {rule.required_value!r}")
            elif _run(program, claims, "claimValidationRules", budget) is not True:
                raise BadToken(rule.message or f"claimValidationRules: not so: {rule.expression}")

    def _name(self, claims: Mapping[str, Any], budget: cel.Budget) -> str:
        mapping = self._settings.claim_mappings.username
        if mapping.claim == "email" and claims.get("email_verified", True) is not True:
            raise BadToken("the e-mail address is not verified")
        value = claims.get(mapping.claim) if mapping.claim else _run(self._username, claims, "username", budget)
        if not isinstance(value, str) or not value:
            raise BadToken("claimMappings.username: gives no name")
        return (mapping.prefix or "") + value

    def _of(
        self,
        claims: Mapping[str, Any],
        what: str,
        mappings: ClaimMappings,
        program: cel.Program | None,
        budget: cel.Budget,
    ) -> tuple[str, ...]:
        mapping = mappings.groups
        value = claims.get(mapping.claim) if mapping.claim else _run(program, claims, what, budget)
        return tuple((mapping.prefix or "") + group for group in _texts(value, what))

    def _check_user(self, user: User, budget: cel.Budget) -> None:
        if not self._user_rules:
            return
        tree = {
            "username": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        for rule, program in self._user_rules:
            if _evaluate(program, {"user": tree}, "userValidationRules", budget) is not True:
                raise BadToken(rule.message or f"userValidationRules: not so: {rule.expression}")


def _run(program: cel.Program | None, claims: Mapping[str, Any], what: str, budget: cel.Budget) -> Any:
    return None if program is None else _evaluate(program, {"claims": claims}, what, budget)


def _evaluate(program: cel.Program, variables: Mapping[str, Any], what: str, budget: cel.Budget) -> Any:
    try:
        return program.evaluate(variables, budget)
    except (cel.EvaluationError, cel.CostExceeded) as error:
        raise BadToken(f"{what}: {program.expression}: {error}") from error


def _texts(value: Any, what: str) -> tuple[str, ...]:
    """A text or a list of them; empty ones are left out."""
    found = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(found, list | tuple) or not all(isinstance(entry, str) for entry in found):
        raise BadToken(f"claimMappings: {what} is not a string or a list of strings")
    return tuple(entry for entry in found if entry)
