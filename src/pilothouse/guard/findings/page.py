"""Findings as one page that needs nothing else: summary by owner, trend, a list that sorts and filters. Pure.

Everything of the cluster is escaped, and nothing is fetched: the page carries its style and its script, and a policy
that lets no other run. Without the script the list is readable all the same.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from pilothouse.guard.finding import Severity
from pilothouse.kinds.columns import human_duration
from pilothouse.kinds.guard.finding import OPEN, RESOLVED, Finding
from pilothouse.machinery.objects import parse_timestamp

NOBODY = "(nobody)"
DAYS = 14
SHOWN = 5_000
"""Findings listed, the worst first; the summary counts all of them."""
SEVERITIES = tuple(str(severity) for severity in sorted(Severity, reverse=True))
_WIDTH, _HEIGHT, _BAR = 28, 90, 22


def policy() -> str:
    """The Content-Security-Policy under which the page works."""
    style, script = (f"'sha256-{_digest(_file(name))}'" for name in ("page.css", "page.js"))
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def page(findings: Sequence[Finding], now: dt.datetime, about: str = "all namespaces") -> str:
    """The document. `about` says what it is about, in words."""
    current = [finding for finding in findings if finding.status.state == OPEN]
    body = "\n".join(
        (
            f"<header><h1>Findings</h1><p>{escape(about)}, {now:%Y-%m-%d %H:%M} UTC: {_counted(current)}</p></header>",
            _section("By owner", _owners(current)),
            _section(f"Open in the last {DAYS} days", _trend(findings, now)),
            _section("What is wrong", _list(findings, now)),
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


def _counted(findings: Iterable[Finding]) -> str:
    counted = Counter(finding.spec.severity for finding in findings)
    told = ", ".join(f"{counted[severity]} {severity}" for severity in SEVERITIES if counted[severity])
    return f"{counted.total()} open ({told})" if told else "nothing is open"


def _owners(findings: Sequence[Finding]) -> str:
    owners: dict[str, Counter[str]] = {}
    for finding in findings:
        owners.setdefault(finding.status.owner or NOBODY, Counter())[finding.spec.severity] += 1
    if not owners:
        return "<p>Nothing is open.</p>"
    heads = "".join(f"<th>{severity}</th>" for severity in SEVERITIES)
    order = sorted(owners.items(), key=lambda item: ([-item[1][severity] for severity in SEVERITIES], item[0]))
    rows = "\n".join(
        f'<tr><th><a href="#list" data-owner="{escape(owner)}">{escape(owner)}</a></th>'
        + "".join(f'<td class="{s if n[s] else "none"}">{n[s]}</td>' for s in SEVERITIES)
        + f"<td>{n.total()}</td></tr>"
        for owner, n in order
    )
    return f'<table id="owners"><thead><tr><th>owner</th>{heads}<th>all</th></tr></thead><tbody>{rows}</tbody></table>'


def _trend(findings: Sequence[Finding], now: dt.datetime) -> str:
    """Bars of what was open at the end of each day, by severity, as far as findings remember."""
    days = [now.date() - dt.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    counts = [Counter(f.spec.severity for f in findings if _was_open(f, day.isoformat())) for day in days]
    most = max((count.total() for count in counts), default=0) or 1
    bars = []
    for place, (day, count) in enumerate(zip(days, counts)):
        top = float(_HEIGHT)
        told = ", ".join(f"{count[s]} {s}" for s in SEVERITIES if count[s]) or "none"
        bars.append(f"<g><title>{day}: {told}</title>")
        for severity in reversed(SEVERITIES):
            height = _HEIGHT * count[severity] / most
            top -= height
            size = f'x="{place * _WIDTH}" y="{top:.1f}" width="{_BAR}" height="{height:.1f}"'
            bars.append(f'<rect class="{severity}" {size}/>' if height else "")
        bars.append(f'<text x="{place * _WIDTH + _BAR / 2}" y="{_HEIGHT + 14}">{day:%d}</text></g>')
    box = f"0 0 {DAYS * _WIDTH} {_HEIGHT + 20}"
    return f'<svg id="trend" viewBox="{box}" role="img" aria-label="open findings by day">{"".join(bars)}</svg>'


def _was_open(finding: Finding, day: str) -> bool:
    status = finding.status
    ended = status.resolved_at[:10] if status.state == RESOLVED else ""
    return status.first_seen[:10] <= day and (not ended or day < ended)


def _list(findings: Sequence[Finding], now: dt.datetime) -> str:
    worst = sorted(findings, key=lambda f: (f.status.state != OPEN, -f.spec.risk, f.namespace))
    heads = ("risk", "severity", "namespace", "object", "what is wrong", "owner", "state", "age")
    head = "".join(f'<th><button type="button">{name}</button></th>' for name in heads)
    rows = "\n".join(_row(finding, now) for finding in worst[:SHOWN])
    more = f"<p>{len(worst) - SHOWN} more are not listed.</p>" if len(worst) > SHOWN else ""
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
