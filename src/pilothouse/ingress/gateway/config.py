"""A Gateway plan as lines of HAProxy's configuration. Pure.

Texts of people stand in single quotes, in which HAProxy takes everything literally; the plan has only such that can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pilothouse.ingress.gateway.plan import GatewayPlan, Rule
from pilothouse.ingress.gateway.views import (
    HeaderModifier,
    HTTPRouteFilter,
    HTTPRouteMatch,
    PathModifier,
    RequestRedirect,
    URLRewrite,
    ValueMatch,
)
from pilothouse.kinds.families import join_host_port
from pilothouse.machinery.durations import parse_duration

_MOST_WEIGHT = 256
_BACK = "\\1"
_WELL_KNOWN = {"http": 80, "https": 443}


def host_pattern(host: str) -> str:
    """What follows `-m` to match a host name, or those below a wildcard by any number of labels."""
    if host.startswith("*."):
        return "end " + host[1:]
    return f"str {host}"


def choosing(plan: GatewayPlan) -> list[str]:
    """The frontend's lines that choose a backend; the first that fits counts."""
    return [f"  use_backend {rule.name} if {' '.join(_conditions(rule))}" for rule in plan.rules]


def backends(plan: GatewayPlan) -> list[str]:
    """A backend for each rule; a rule that several host names have is written once."""
    lines: list[str] = []
    seen: set[str] = set()
    for rule in plan.rules:
        if rule.name not in seen:
            seen.add(rule.name)
            lines += [f"backend {rule.name}", *(f"  {line}" for line in _backend(rule))]
    return lines


def _conditions(rule: Rule) -> Iterator[str]:
    yield f"{{ dst_port {rule.port} }}"
    if rule.host:
        yield f"{{ var(txn.host) -m {host_pattern(rule.host)} }}"
    yield from _of_match(rule.match)


def _of_match(match: HTTPRouteMatch) -> Iterator[str]:
    path = match.path
    if path.type == "Exact":
        yield f"{{ path -m str -- {_quoted(path.value)} }}"
    elif path.type == "RegularExpression":
        yield f"{{ path -m reg -- {_quoted(path.value)} }}"
    elif path.value.rstrip("/"):
        yield f"{{ path -m reg -- {_quoted('^' + re.escape(path.value.rstrip('/')) + '(/|$)')} }}"
    if match.method:
        yield f"{{ method {match.method} }}"
    for header in match.headers:
        yield _value(f"req.fhdr({header.name})", header)
    for parameter in match.query_params:
        yield _value(f"url_param({parameter.name}),url_dec", parameter)


def _value(sample: str, wanted: ValueMatch) -> str:
    how = "reg" if wanted.type == "RegularExpression" else "str"
    return f"{{ {sample} -m {how} -- {_quoted(wanted.value)} }}"


def _backend(rule: Rule) -> Iterator[str]:
    for filter_ in rule.rule.filters:
        yield from _filter(filter_, rule)
    if any(filter_.type == "RequestRedirect" for filter_ in rule.rule.filters):
        return
    total = sum(leg.weight for leg in rule.legs)
    lost = sum(leg.weight for leg in rule.legs if leg.backend is None)
    failure = (
        'http-request return status 500 content-type text/plain string "a service of this route cannot be reached"'
    )
    if lost == total:
        yield failure
        return
    if lost:
        yield f"{failure} if {{ rand({total}) -m int lt {lost} }}"
    if seconds := _seconds(rule):
        yield f"timeout server {max(1, round(seconds * 1000))}ms"
    yield "balance roundrobin"
    most = max(leg.weight for leg in rule.legs)
    for number, leg in enumerate(rule.legs):
        if leg.backend is not None and leg.weight:
            weight = leg.weight if most <= _MOST_WEIGHT else max(1, leg.weight * _MOST_WEIGHT // most)
            protocol = " proto h2" if leg.backend.h2c else ""
            where = join_host_port(leg.backend.address, leg.backend.port)
            yield f"server s{number} {where} weight {weight}{protocol}"


def _seconds(rule: Rule) -> float:
    timeouts = rule.rule.timeouts
    text = (timeouts.backend_request or timeouts.request) if timeouts is not None else None
    return parse_duration(text) if text else 0.0


def _filter(filter_: HTTPRouteFilter, rule: Rule) -> Iterator[str]:
    if filter_.request_header_modifier is not None:
        yield from _headers("http-request", filter_.request_header_modifier)
    elif filter_.response_header_modifier is not None:
        yield from _headers("http-response", filter_.response_header_modifier)
    elif filter_.url_rewrite is not None:
        yield from _rewrite(filter_.url_rewrite, rule)
    elif filter_.request_redirect is not None:
        yield from _redirect(filter_.request_redirect, rule)


def _headers(direction: str, change: HeaderModifier) -> Iterator[str]:
    for header in change.set:
        yield f"{direction} set-header {header.name} {_format(header.value)}"
    for header in change.add:
        yield f"{direction} add-header {header.name} {_format(header.value)}"
    for name in change.remove:
        yield f"{direction} del-header {name}"


def _rewrite(change: URLRewrite, rule: Rule) -> Iterator[str]:
    if change.hostname:
        yield f"http-request set-header Host {_format(change.hostname)}"
    if change.path is not None:
        yield from _path(change.path, rule.match)


def _path(change: PathModifier, match: HTTPRouteMatch) -> Iterator[str]:
    if change.type == "ReplaceFullPath":
        yield f"http-request set-path {_format(change.replace_full_path or '/')}"
        return
    before, after = match.path.value.rstrip("/"), (change.replace_prefix_match or "").rstrip("/")
    # The longer path first: what the other line made must not be taken for one that still has the prefix.
    literal = _escaped(after).replace("\\", "\\\\")
    yield f"http-request replace-path {_quoted('^' + re.escape(before) + '/(.*)$')} {_quoted(literal + '/' + _BACK)}"
    if before:
        yield f"http-request replace-path {_quoted('^' + re.escape(before) + '$')} {_quoted(literal or '/')}"


def _redirect(change: RequestRedirect, rule: Rule) -> Iterator[str]:
    if change.path is not None:
        yield from _path(change.path, rule.match)
    scheme = change.scheme or "%[ssl_fc,iif(https,http)]"
    host = _escaped(change.hostname) if change.hostname else "%[var(txn.host)]"
    port = change.port
    if port is None and change.scheme is None and rule.port not in _WELL_KNOWN.values():
        port = rule.port
    shown = f":{port}" if port is not None and port != _WELL_KNOWN.get(change.scheme or "") else ""
    yield f"http-request redirect code {change.status_code} location '{scheme}://{host}{shown}%[pathq]'"


def _quoted(text: str) -> str:
    return f"'{text}'"


def _format(text: str) -> str:
    """A text where HAProxy would read a format."""
    return f"'{_escaped(text)}'"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
