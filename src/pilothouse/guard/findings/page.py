"""Findings as one page that needs nothing else: summary by owner, trend, a list that sorts and filters. Pure.

Everything of the cluster is escaped, and nothing is fetched: the page carries its style and its script, and a policy
that lets no other run. Without the script the list is readable all the same.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from pilothouse.guard.finding import Severity
from pilothouse.guard.findings.trend import SEVERITIES, Day, chart
from pilothouse.kinds.columns import human_duration
from pilothouse.kinds.guard.finding import OPEN, Finding
from pilothouse.machinery.objects import parse_timestamp

NOBODY = "(nobody)"
SHOWN = 5_000
"""Findings listed, the worst first; the summary counts all of them."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a page shows. `owners` counts what is open, by owner and severity; `listed` are findings of whatever state,
    the most pressing first, and `left_out` how many more there are; `about` says in words what it is about."""

    now: dt.datetime
    about: str
    owners: Mapping[str, Counter[str]]
    listed: Sequence[Finding]
    left_out: int
    days: Sequence[Day]


def content_of(findings: Sequence[Finding], days: Sequence[Day], now: dt.datetime, about: str) -> Content:
    """What a page of these findings shows."""
    owners: dict[str, Counter[str]] = {}
    for finding in findings:
        if finding.status.state == OPEN:
            owners.setdefault(finding.status.owner, Counter())[finding.spec.severity] += 1
    worst = sorted(findings, key=lambda f: (f.status.state != OPEN, -f.spec.risk, f.namespace))
    return Content(now, about, owners, worst[:SHOWN], max(len(worst) - SHOWN, 0), days)


def policy() -> str:
    """The Content-Security-Policy under which the page works."""
    style, script = (f"'sha256-{_digest(_file(name))}'" for name in ("page.css", "page.js"))
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def page(content: Content) -> str:
    """The document."""
    counted = sum(content.owners.values(), Counter[str]())
    body = "\n".join(
        (
            f"<header><h1>Findings</h1><p>{escape(content.about)}, {content.now:%Y-%m-%d %H:%M} UTC:"
            f" {_counted(counted)}</p></header>",
            _section("By owner", _owners(content.owners)),
            _section("Open, by day", chart(content.days)),
            _section("What is wrong", _list(content)),
        )
    )
    # As in the answer's header, for the file; what only a header can say is left out.
    meta = escape(policy().partition("; frame-ancestors")[0])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{meta}">'
        '<meta name="viewport" content="width=device-width"><title>Findings - Pilothouse</title>'
        f"<style>{_file('page.css')}</style></head>\n<body>\n{body}\n<script>{_file('page.js')}</script></body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>"


def _counted(counted: Counter[str]) -> str:
    told = ", ".join(f"{counted[severity]} {severity}" for severity in SEVERITIES if counted[severity])
    return f"{counted.total()} open ({told})" if told else "nothing is open"


def _owners(owners: Mapping[str, Counter[str]]) -> str:
    if not owners:
        return "<p>Nothing is open.</p>"
    heads = "".join(f"<th>{severity}</th>" for severity in SEVERITIES)
    order = sorted(owners.items(), key=lambda item: ([-item[1][severity] for severity in SEVERITIES], item[0]))
    rows = "\n".join(
        f'<tr><th><a href="#list" data-owner="{escape(owner or NOBODY)}">{escape(owner or NOBODY)}</a></th>'
        + "".join(f'<td class="{s if n[s] else "none"}">{n[s]}</td>' for s in SEVERITIES)
        + f"<td>{n.total()}</td></tr>"
        for owner, n in order
    )
    return f'<table id="owners"><thead><tr><th>owner</th>{heads}<th>all</th></tr></thead><tbody>{rows}</tbody></table>'


def _list(content: Content) -> str:
    heads = ("risk", "severity", "namespace", "object", "what is wrong", "owner", "state", "age")
    head = "".join(f'<th><button type="button">{name}</button></th>' for name in heads)
    rows = "\n".join(_row(finding, content.now) for finding in content.listed)
    more = f"<p>{content.left_out} more are not listed.</p>" if content.left_out else ""
    return (
        '<p><label>Show <input id="filter" type="search" placeholder="owner, namespace, rule …"></label>'
        ' <label><input id="all" type="checkbox"> accepted and resolved too</label> <span id="count"></span></p>'
        f'<table id="list"><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>{more}'
    )


def _row(finding: Finding, now: dt.datetime) -> str:
    spec, status = finding.spec, finding.status
    age = (now - parse_timestamp(status.first_seen)).total_seconds() if status.first_seen else 0.0
    where = f"container {spec.container} " if spec.container else ""
    facts = [("rule", spec.rule), ("field", spec.field), ("why", spec.why), ("standards", spec.standards)]
    facts += [*spec.evidence.items(), ("new because", status.new_because), ("exemption", status.exemption)]
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts if text)
    rank = Severity.parse(spec.severity)
    return (
        f'<tr data-state="{escape(status.state)}"><td data-key="{-spec.risk}">{spec.risk:04}</td>'
        f'<td class="{escape(spec.severity)}" data-key="{-rank}">'
        f"{escape(spec.severity)}</td><td>{escape(spec.subject.namespace)}</td>"
        f"<td>{escape(spec.subject.kind)}/{escape(spec.subject.name)}</td>"
        f"<td><details><summary>{escape(where + spec.message)}</summary><dl>{told}</dl>"
        f"<pre>{escape(spec.remedy)}</pre></details></td>"
        f"<td>{escape(status.owner or NOBODY)}</td><td>{escape(status.state)}</td>"
        f'<td data-key="{int(age)}">{human_duration(age)}</td></tr>'
    )


def _file(name: str) -> str:
    return (resources.files("pilothouse.guard.findings") / name).read_text()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
