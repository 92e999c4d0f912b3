"""AuthenticationConfiguration: whose tokens are believed, and whom their claims name. Pure.

Source: `apiserver.config.k8s.io/v1` and Kubernetes documentation, "Authentication configuration from a file".
"""

from __future__ import annotations

import re
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from pilothouse.apiserver.settings_file import InvalidSettings
from pilothouse.kinds.view import api_name
from pilothouse.policy import cel
from pilothouse.policy.cel.types import BOOL, DYN, STRING, Type, list_of

CLAIMS: Final = {"claims": DYN}
USER: Final = {"user": DYN}
_TEXTS: Final = (STRING, list_of(STRING), list_of(DYN), Type("null_type"))
_EXTRA_KEY: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-a-z0-9_./]+")
_RESERVED: Final = re.compile(r"(^|\.)(k8s|kubernetes)\.io/")
_EMAIL: Final = re.compile(r"claims\.email\b")
_EMAIL_VERIFIED: Final = re.compile(r"claims\.\??email_verified\b")


class _Part(msgspec.Struct, rename=api_name, forbid_unknown_fields=True):
    """Fields that do not exist are errors: a rule that is misspelt must not be a rule that is missing."""


class IssuerSettings(_Part):
    """`issuer`."""

    url: str = ""
    discovery_url: str = msgspec.field(default="", name="discoveryURL")
    certificate_authority: str = ""
    audiences: list[str] = []
    audience_match_policy: str = ""
    egress_selector_type: str = ""


class Prefixed(_Part):
    """A claim with a prefix, or an expression."""

    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class ClaimOrExpression(_Part):
    claim: str = ""
    expression: str = ""


class ExtraMapping(_Part):
    key: str = ""
    value_expression: str = ""


class ClaimMappings(_Part):
    username: Prefixed = msgspec.field(default_factory=Prefixed)
    groups: Prefixed = msgspec.field(default_factory=Prefixed)
    uid: ClaimOrExpression = msgspec.field(default_factory=ClaimOrExpression)
    extra: list[ExtraMapping] = []


class ClaimRule(_Part):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class UserRule(_Part):
    expression: str = ""
    message: str = ""


class JwtSettings(_Part):
    """One entry of `jwt`."""

    issuer: IssuerSettings = msgspec.field(default_factory=IssuerSettings)
    claim_validation_rules: list[ClaimRule] = []
    claim_mappings: ClaimMappings = msgspec.field(default_factory=ClaimMappings)
    user_validation_rules: list[UserRule] = []


class AnonymousCondition(_Part):
    path: str = ""


class Anonymous(_Part):
    """Whether requests without credentials are let in at all, and to which paths (all if none is named)."""

    enabled: bool = True
    conditions: list[AnonymousCondition] = []

    def admits(self, path: str) -> bool:
        return self.enabled and (not self.conditions or any(entry.path == path for entry in self.conditions))


class AuthenticationSettings(_Part):
    """The whole file."""

    api_version: str = ""
    kind: str = ""
    jwt: list[JwtSettings] = []
    anonymous: Anonymous | None = None


def read_settings(tree: Any, own_issuer: str = "") -> AuthenticationSettings:
    """The settings of a file's tree; `own_issuer` is that of service account tokens. Raises InvalidSettings."""
    try:
        found = msgspec.convert(tree, AuthenticationSettings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(str(error)) from error
    if (found.api_version, found.kind) != ("apiserver.config.k8s.io/v1", "AuthenticationConfiguration"):
        raise InvalidSettings(
            f"is {found.api_version} {found.kind}, not apiserver.config.k8s.io/v1 AuthenticationConfiguration"
        )
    seen = {own_issuer}
    for index, entry in enumerate(found.jwt):
        path = f"jwt[{index}]"
        if entry.issuer.url in seen:
            raise InvalidSettings(f"{path}.issuer.url: {entry.issuer.url} is used already")
        seen.add(entry.issuer.url)
        _check_issuer(entry.issuer, f"{path}.issuer")
        _check_mappings(entry, path)
        _check_rules(entry, path)
    if found.anonymous is not None and found.anonymous.conditions and not found.anonymous.enabled:
        raise InvalidSettings("anonymous.conditions: are for anonymous.enabled: true only")
    return found


def _check_issuer(issuer: IssuerSettings, path: str) -> None:
    for name, url in (("url", issuer.url), ("discoveryURL", issuer.discovery_url)):
        if name == "discoveryURL" and not url:
            continue
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise InvalidSettings(f"{path}.{name}: {url!r} must be an https URL without user, query and fragment")
    if issuer.discovery_url and issuer.discovery_url.rstrip("/") == issuer.url.rstrip("/"):
        raise InvalidSettings(f"{path}.discoveryURL: must be different from the url; leave it out")
    if not issuer.audiences or not all(issuer.audiences):
        raise InvalidSettings(f"{path}.audiences: at least one is needed, else tokens for others would be taken")
    if issuer.audience_match_policy not in ("", "MatchAny") or (
        len(issuer.audiences) > 1 and not issuer.audience_match_policy
    ):
        raise InvalidSettings(f"{path}.audienceMatchPolicy: must be MatchAny where there are several audiences")
    if issuer.egress_selector_type:
        raise InvalidSettings(f"{path}.egressSelectorType: there are no egress selectors here; leave it out")
    if issuer.certificate_authority:
        try:
            ssl.create_default_context(cadata=issuer.certificate_authority)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSettings(f"{path}.certificateAuthority: is no PEM certificate: {error}") from error


def _check_mappings(entry: JwtSettings, path: str) -> None:
    mappings, path = entry.claim_mappings, f"{path}.claimMappings"
    username = mappings.username
    if not username.claim and not username.expression:
        raise InvalidSettings(f"{path}.username: claim or expression is needed")
    for name, mapping in (("username", username), ("groups", mappings.groups)):
        _check_either(mapping, f"{path}.{name}")
        if mapping.claim and mapping.prefix is None:
            raise InvalidSettings(f"{path}.{name}.prefix: is needed beside claim; it may be empty")
        if mapping.expression and mapping.prefix:
            raise InvalidSettings(f"{path}.{name}.prefix: goes with claim; put it into the expression")
    _check_either(mappings.uid, f"{path}.uid")
    compile_claims(username.expression, (STRING,), f"{path}.username.expression")
    compile_claims(mappings.groups.expression, _TEXTS, f"{path}.groups.expression")
    compile_claims(mappings.uid.expression, (STRING,), f"{path}.uid.expression")
    keys = [extra.key for extra in mappings.extra]
    for index, extra in enumerate(mappings.extra):
        where = f"{path}.extra[{index}]"
        if not _EXTRA_KEY.fullmatch(extra.key) or _RESERVED.search(extra.key) or keys.count(extra.key) > 1:
            raise InvalidSettings(
                f"{where}.key: {extra.key!r} must be DOMAIN/PATH in lower case, not of k8s.io, and once"
            )
        if not extra.value_expression:
            raise InvalidSettings(f"{where}.valueExpression: is needed")
        compile_claims(extra.value_expression, _TEXTS, f"{where}.valueExpression")
    _check_email(entry, f"{path}.username.expression")


def _check_either(mapping: Prefixed | ClaimOrExpression, path: str) -> None:
    if mapping.claim and mapping.expression:
        raise InvalidSettings(f"{path}: claim and expression exclude one another")


def _check_email(entry: JwtSettings, path: str) -> None:
    """An address that nobody has verified is nobody's name."""
    mappings = entry.claim_mappings
    if not _EMAIL.search(mappings.username.expression):
        return
    others = [mappings.username.expression, *(extra.value_expression for extra in mappings.extra)]
    others += [rule.expression for rule in entry.claim_validation_rules]
    if not any(_EMAIL_VERIFIED.search(text) for text in others):
        raise InvalidSettings(
            f"{path}: uses claims.email, so claims.email_verified must be used in it, in an extra or in a claim rule"
        )


def _check_rules(entry: JwtSettings, path: str) -> None:
    for index, rule in enumerate(entry.claim_validation_rules):
        where = f"{path}.claimValidationRules[{index}]"
        if bool(rule.claim) == bool(rule.expression):
            raise InvalidSettings(f"{where}: exactly one of claim and expression is needed")
        if rule.claim and rule.message:
            raise InvalidSettings(f"{where}.message: goes with expression")
        compile_claims(rule.expression, (BOOL,), f"{where}.expression")
    for index, user_rule in enumerate(entry.user_validation_rules):
        where = f"{path}.userValidationRules[{index}].expression"
        if not user_rule.expression:
            raise InvalidSettings(f"{where}: is needed")
        _compile(user_rule.expression, USER, (BOOL,), where)


def compile_claims(expression: str, results: tuple[Type, ...], path: str = "") -> cel.Program | None:
    """The program of an expression about claims, None without one. Raises InvalidSettings."""
    return _compile(expression, CLAIMS, results, path) if expression else None


def compile_user(expression: str) -> cel.Program:
    """The program of a rule about users. Raises InvalidSettings."""
    return _compile(expression, USER, (BOOL,), "")


def _compile(expression: str, variables: dict[str, Type], results: tuple[Type, ...], path: str) -> cel.Program:
    try:
        return cel.compile(expression, variables, results)
    except cel.CompileError as error:
        raise InvalidSettings(f"{path}: {error}") from error
