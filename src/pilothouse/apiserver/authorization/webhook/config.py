"""AuthorizationConfiguration: which authorisers are asked, in which order. Pure but for the kubeconfigs it names.

Source: `apiserver.config.k8s.io/v1` and Kubernetes documentation, "Configuring the API Server using an Authorization
Config File".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from pilothouse.apiserver.settings_file import InvalidSettings
from pilothouse.client.kubeconfig import Access, KubeconfigError, read_kubeconfig
from pilothouse.kinds.view import api_name
from pilothouse.machinery.durations import InvalidDuration, parse_duration

_MOST_SECONDS: Final = 30.0
_TYPES: Final = ("Webhook", "Node", "RBAC")


class _Part(msgspec.Struct, rename=api_name, forbid_unknown_fields=True):
    """Fields that do not exist are errors: a condition that is misspelt must not be one that is missing."""


class MatchCondition(_Part):
    expression: str = ""


class ConnectionInfo(_Part):
    type: str = ""
    kube_config_file: str | None = None


class WebhookSettings(_Part):
    """`webhook`."""

    timeout: str = ""
    failure_policy: str = ""
    connection_info: ConnectionInfo = msgspec.field(default_factory=ConnectionInfo)
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    match_conditions: list[MatchCondition] = []
    authorized_ttl: str = msgspec.field(default="5m0s", name="authorizedTTL")
    unauthorized_ttl: str = msgspec.field(default="30s", name="unauthorizedTTL")
    cache_authorized_requests: bool = True
    cache_unauthorized_requests: bool = True


class AuthorizerSettings(_Part):
    """One entry of `authorizers`."""

    type: str = ""
    name: str = ""
    webhook: WebhookSettings | None = None


class _Configuration(_Part):
    api_version: str = ""
    kind: str = ""
    authorizers: list[AuthorizerSettings] = []


class Webhook(NamedTuple):
    """A webhook, ready to be asked. Times are seconds; a time to live of 0 means that nothing is remembered."""

    name: str
    access: Access
    timeout: float
    denies_on_failure: bool
    conditions: tuple[str, ...]
    allowed_ttl: float
    other_ttl: float


class AuthorizationSettings(NamedTuple):
    """Authorisers in order: "Node", "RBAC", or a webhook."""

    authorizers: tuple[str | Webhook, ...]


def read_settings(tree: Any, directory: Path) -> AuthorizationSettings:
    """The settings of a file's tree; files it names count from `directory`. Raises InvalidSettings."""
    try:
        found = msgspec.convert(tree, _Configuration)
    except msgspec.ValidationError as error:
        raise InvalidSettings(str(error)) from error
    if (found.api_version, found.kind) != ("apiserver.config.k8s.io/v1", "AuthorizationConfiguration"):
        raise InvalidSettings(
            f"is {found.api_version} {found.kind}, not apiserver.config.k8s.io/v1 AuthorizationConfiguration"
        )
    if not found.authorizers:
        raise InvalidSettings("authorizers: at least one is needed")
    ordered: list[str | Webhook] = []
    names: set[str] = set()
    for index, entry in enumerate(found.authorizers):
        path = f"authorizers[{index}]"
        if not entry.name or entry.name in names:
            raise InvalidSettings(f"{path}.name: {entry.name!r} must be there, and once")
        names.add(entry.name)
        if entry.type not in _TYPES:
            raise InvalidSettings(f"{path}.type: {entry.type!r} is none of {', '.join(_TYPES)}")
        if entry.type != "Webhook":
            if entry.type in ordered or entry.webhook is not None:
                raise InvalidSettings(f"{path}: {entry.type} may be there once, and has no webhook")
            ordered.append(entry.type)
        elif entry.webhook is None:
            raise InvalidSettings(f"{path}.webhook: is needed")
        else:
            ordered.append(_webhook(entry.name, entry.webhook, f"{path}.webhook", directory))
    return AuthorizationSettings(tuple(ordered))


def _webhook(name: str, settings: WebhookSettings, path: str, directory: Path) -> Webhook:
    timeout = _seconds(settings.timeout, f"{path}.timeout")
    if not 0 < timeout <= _MOST_SECONDS:
        raise InvalidSettings(f"{path}.timeout: must be more than 0s and at most {_MOST_SECONDS:g}s")
    if settings.failure_policy not in ("Deny", "NoOpinion"):
        raise InvalidSettings(f"{path}.failurePolicy: {settings.failure_policy!r} is neither Deny nor NoOpinion")
    if settings.subject_access_review_version != "v1":
        raise InvalidSettings(f"{path}.subjectAccessReviewVersion: must be v1")
    conditions = tuple(condition.expression for condition in settings.match_conditions)
    if conditions and settings.match_condition_subject_access_review_version != "v1":
        raise InvalidSettings(f"{path}.matchConditionSubjectAccessReviewVersion: must be v1")
    for index, expression in enumerate(conditions):
        _check_condition(expression, f"{path}.matchConditions[{index}].expression")
    allowed = _seconds(settings.authorized_ttl, f"{path}.authorizedTTL")
    other = _seconds(settings.unauthorized_ttl, f"{path}.unauthorizedTTL")
    return Webhook(
        name,
        _access(settings.connection_info, f"{path}.connectionInfo", directory),
        timeout,
        settings.failure_policy == "Deny",
        conditions,
        allowed if settings.cache_authorized_requests else 0.0,
        other if settings.cache_unauthorized_requests else 0.0,
    )


def _access(info: ConnectionInfo, path: str, directory: Path) -> Access:
    if info.type != "KubeConfigFile" or not info.kube_config_file:
        raise InvalidSettings(
            f"{path}: type KubeConfigFile with a kubeConfigFile is needed; InClusterConfig is not for here"
        )
    file = directory / info.kube_config_file
    try:
        access = read_kubeconfig(file)
    except (KubeconfigError, OSError) as error:
        raise InvalidSettings(f"{path}.kubeConfigFile: {file}: {error}") from error
    if not access.server.startswith("https://"):
        raise InvalidSettings(f"{path}.kubeConfigFile: {file}: the server must be an https URL")
    return access


def _check_condition(expression: str, path: str) -> None:
    from pilothouse.apiserver.authorization.webhook.conditions import compile_condition
    from pilothouse.policy import cel

    try:
        compile_condition(expression)
    except cel.CompileError as error:
        raise InvalidSettings(f"{path}: {error}") from error


def _seconds(text: str, path: str) -> float:
    try:
        return parse_duration(text)
    except InvalidDuration as error:
        raise InvalidSettings(f"{path}: {error}") from error
