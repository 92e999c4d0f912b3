"""Defaults and rules of webhooks.

Source of messages: Kubernetes' `pkg/apis/admissionregistration/validation` and `util/webhook`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from pilothouse.kinds.admissionregistration.rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    check_conditions,
    check_rule,
    check_selectors,
    default_rules,
    default_selectors,
)
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

SECONDS = 10
REVIEW_VERSIONS = ("v1", "v1beta1")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REINVOCATION = ("IfNeeded", "Never")
_LONGEST_SECONDS = 30
_HTTPS_PORT = 443
_FORM = "; desired format: https://host[/path]"


def default_webhooks(obj: Obj, *, mutating: bool) -> None:
    """Fails closed after ten seconds, for all objects of the rules in all versions."""
    for webhook in obj.get("webhooks") or ():
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("timeoutSeconds", SECONDS)
        default_selectors(webhook)
        default_rules(webhook.get("rules"))
        if mutating:
            webhook.setdefault("reinvocationPolicy", "Never")
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", _HTTPS_PORT)


def check_webhooks(obj: Obj, problems: Problems, *, mutating: bool) -> None:
    """All webhooks of a configuration."""
    seen: set[str] = set()
    for index, webhook in enumerate(obj.get("webhooks") or ()):
        at, name = f"webhooks[{index}]", webhook.get("name") or ""
        _check_webhook(webhook, at, problems, mutating)
        _check_versions(webhook.get("admissionReviewVersions") or (), f"{at}.admissionReviewVersions", problems)
        if name in seen:
            problems.duplicate(f"{at}.name", name)
        seen.add(name)


def _check_webhook(webhook: Obj, at: str, problems: Problems, mutating: bool) -> None:
    _check_name(webhook.get("name") or "", f"{at}.name", problems)
    for index, rule in enumerate(webhook.get("rules") or ()):
        check_rule(rule, f"{at}.rules[{index}]", problems)
    problems.one_of(f"{at}.failurePolicy", webhook.get("failurePolicy"), FAILURE_POLICIES, required=False)
    problems.one_of(f"{at}.matchPolicy", webhook.get("matchPolicy"), MATCH_POLICIES, required=False)
    effects = webhook.get("sideEffects")
    if effects is None:
        problems.required(f"{at}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    elif effects not in _SIDE_EFFECTS:
        problems.unsupported(f"{at}.sideEffects", effects, _SIDE_EFFECTS)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _LONGEST_SECONDS:
        problems.invalid(f"{at}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    check_selectors(webhook, at, problems)
    if mutating:
        problems.one_of(f"{at}.reinvocationPolicy", webhook.get("reinvocationPolicy"), _REINVOCATION, required=False)
    _check_client(webhook.get("clientConfig") or {}, f"{at}.clientConfig", problems)
    check_conditions(webhook.get("matchConditions") or (), f"{at}.matchConditions", problems)


def _check_name(name: str, path: str, problems: Problems) -> None:
    if not name:
        problems.required(path)
        return
    messages = names.dns1123_subdomain(name)
    problems.invalid_each(path, name, messages)
    if not messages and len(name.split(".")) < 3:
        problems.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _check_versions(versions: Sequence[str], path: str, problems: Problems) -> None:
    if not versions:
        problems.required(path, f"must specify one of {', '.join(REVIEW_VERSIONS)}")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            problems.invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        seen.add(version)
        problems.invalid_each(f"{path}[{index}]", version, names.dns1035_label(version))
    if not seen.intersection(REVIEW_VERSIONS):
        problems.invalid(path, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}")


def _check_client(client: Obj, path: str, problems: Problems) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        problems.required(path, "exactly one of url or service is required")
    elif url is not None:
        _check_url(url, f"{path}.url", problems)
    elif service is not None:
        _check_service(service, f"{path}.service", problems)


def _check_url(url: str, path: str, problems: Problems) -> None:
    try:
        parts = urlsplit(url)
        found = parts.hostname, parts.port
    except ValueError as error:
        problems.required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    if parts.scheme != "https":
        problems.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not found[0]:
        problems.invalid(path, parts.netloc, f"host must be specified{_FORM}")
    if parts.username is not None:
        problems.invalid(path, parts.username, "user information is not permitted in the URL")
    if parts.fragment:
        problems.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        problems.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _check_service(service: Obj, path: str, problems: Problems) -> None:
    for field in ("name", "namespace"):
        if not service.get(field):
            problems.required(f"{path}.{field}", f"service {field} is required")
    port = service.get("port", _HTTPS_PORT)
    if not 1 <= port <= 65535:
        problems.invalid(f"{path}.port", port, "port is not valid: must be between 1 and 65535, inclusive")
    where = service.get("path")
    if where is None or where == "/":
        return
    if not where.startswith("/"):
        problems.invalid(f"{path}.path", where, "must start with a '/'")
        return
    for index, step in enumerate(where[1:].removesuffix("/").split("/")):
        if not step:
            problems.invalid(f"{path}.path", where, f"segment[{index}] may not be empty")
        elif names.dns1123_subdomain(step):
            reason = names.dns1123_subdomain(step)[0]
            problems.invalid(f"{path}.path", where, f"segment[{index}]: {reason}")
