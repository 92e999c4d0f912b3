"""What of a route is not served, or cannot be written into HAProxy's configuration. Pure.

The API may have taken anything: the definitions' schemas are not ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from pilothouse.ingress.gateway.views import HTTPRoute, HTTPRouteRule
from pilothouse.machinery.durations import InvalidDuration, parse_duration

HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9_.~!#$&*+^|-]+")
"""Names of headers and parameters that mean nothing else to HAProxy."""
_METHODS = ("", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_REDIRECTS = (301, 302, 303, 307, 308)
_QUOTABLE = re.compile(r"[ -&(-~]*")
_FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")


def unsupported(route: HTTPRoute) -> str:
    """What of a route is not served: it is refused as a whole rather than served in part."""
    for host in route.spec.hostnames:
        if not HOST.fullmatch(host.lower()):
            return f"hostnames: {host!r} is no host name"
    for number, rule in enumerate(route.spec.rules):
        for filter_ in rule.filters:
            if filter_.type not in _FILTERS:
                return f"rules[{number}]: filter {filter_.type} is not served"
        if any(reference.filters for reference in rule.backend_refs):
            return f"rules[{number}]: filters of single backends are not served"
        if problem := _unwritable(rule):
            return f"rules[{number}]: {problem}"
        timeouts = rule.timeouts
        for text in (timeouts.request, timeouts.backend_request) if timeouts is not None else ():
            try:
                parse_duration(text or "0")
            except InvalidDuration as error:
                return f"rules[{number}].timeouts: {error}"
        if any(match.path.type not in ("Exact", "PathPrefix", "RegularExpression") for match in rule.matches):
            return f"rules[{number}]: a path match of that type is not served"
    return ""


def _unwritable(rule: HTTPRouteRule) -> str:
    """What of a rule could mean something else in HAProxy's configuration."""
    if any(not quotable(text) for text in _texts(rule)):
        return "only printable ASCII without single quotes can be served"
    names = [wanted.name for match in rule.matches for wanted in (*match.headers, *match.query_params)]
    for filter_ in rule.filters:
        for change in (filter_.request_header_modifier, filter_.response_header_modifier):
            if change is not None:
                names += [*(header.name for header in (*change.set, *change.add)), *change.remove]
        redirect = filter_.request_redirect
        if redirect is not None:
            names += [text for text in (redirect.hostname, redirect.scheme) if text is not None]
            if redirect.status_code not in _REDIRECTS:
                return f"status code {redirect.status_code} is not one of {', '.join(map(str, _REDIRECTS))}"
    for name in names:
        if not _TOKEN.fullmatch(name):
            return f"{name!r} cannot be a name here"
    methods = [match.method for match in rule.matches if match.method not in _METHODS]
    return f"method {methods[0]!r} is not served" if methods else ""


def quotable(text: str) -> bool:
    """Whether a text can stand in HAProxy's single quotes: printable ASCII without any of those."""
    return _QUOTABLE.fullmatch(text) is not None


def _texts(view: object) -> Iterator[str]:
    """Every text in a view."""
    if isinstance(view, str):
        yield view
    elif isinstance(view, list):
        for entry in view:
            yield from _texts(entry)
    elif isinstance(view, msgspec.Struct):
        for field_ in msgspec.structs.fields(view):
            yield from _texts(getattr(view, field_.name))
