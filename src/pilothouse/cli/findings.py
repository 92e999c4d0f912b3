"""`pilothouse findings`: what is wrong in the cluster, who owns it and since when."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import typer

from pilothouse.cli import output as formats
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.guard.finding import Severity
from pilothouse.guard.findings.model import SILENCED
from pilothouse.guard.findings.risk import ADVISORIES, EPSS, EXPLOITED
from pilothouse.kinds.columns import human_duration
from pilothouse.kinds.guard.finding import ACCEPTED, OPEN, RESOLVED, Finding
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import parse_timestamp

NOBODY = "(nobody)"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """The command line. `severity` is the least shown; ages are texts such as 24h or 7d."""

    owner: str | None = None
    namespace: str | None = None
    severity: str | None = None
    rule: str | None = None
    state: str = OPEN
    newer: str | None = None
    older: str | None = None
    summary: bool = False
    html: str | None = None


def run_findings(chosen: FindingFilter, output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints what is asked for; the exit code."""
    formats.check(output)
    wanted = matcher(chosen, dt.datetime.now(dt.UTC))
    if chosen.html:
        return write_page(chosen, data_dir, kubeconfig)
    every = asyncio.run(read(data_dir, kubeconfig, chosen))
    found = [finding for finding in every if wanted(finding)]
    found.sort(key=lambda f: (-f.spec.risk, f.namespace, f.spec.subject.name, f.spec.rule))
    if chosen.summary:
        rows = summary(found)
        if output:
            formats.write(list(rows), output)
        else:
            typer.echo("\n".join(summary_lines(rows)))
    elif output:
        formats.write({"apiVersion": "v1", "kind": "List", "items": [to_tree(finding) for finding in found]}, output)
    else:
        typer.echo("\n".join(lines(found)))
    return 0


def write_page(chosen: FindingFilter, data_dir: str, kubeconfig: str | None) -> int:
    """Writes the page of the findings that are chosen, of whatever state."""
    from pilothouse.guard.findings import page, trend  # late: rarely asked for

    now = dt.datetime.now(dt.UTC)
    every = replace(chosen, state="all")
    wanted = matcher(every, now)
    findings, counted = asyncio.run(_findings_and_days(data_dir, kubeconfig, every))
    found = [finding for finding in findings if wanted(finding)]
    least = severities(chosen.severity)
    days = [trend.Day(str(day["day"]), {s: n for s, n in day["open"].items() if s in least}) for day in counted]
    about = f"namespace {chosen.namespace}" if chosen.namespace else "all namespaces"
    content = page.content_of(found, days or trend.remembered(found, now), now, about)
    try:
        Path(chosen.html or "").write_text(page.page(content), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--html {chosen.html}: {error.strerror}") from error
    typer.echo(f"written: {chosen.html}")
    return 0


async def _findings_and_days(
    data_dir: str, kubeconfig: str | None, chosen: FindingFilter
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """The findings, and the counts that the server keeps by day: none where they cannot tell what was chosen."""
    findings = await read(data_dir, kubeconfig, chosen)
    if chosen.rule or chosen.newer or chosen.older:
        return findings, []
    query = [("namespace", chosen.namespace)] if chosen.namespace else []
    query += [("owner", _owner(chosen.owner))] if chosen.owner is not None else []
    client = connect(data_dir, kubeconfig)
    try:
        return findings, orjson.loads(await client.request("GET", "/console/trend", query=query))["items"]
    except ApiError:
        return findings, []  # another version's server, or one that does not let this user see it
    finally:
        await client.close()


async def read(data_dir: str, kubeconfig: str | None, chosen: FindingFilter) -> list[Finding]:
    """The findings that are chosen, of whatever age. Raises CommandError."""
    client = connect(data_dir, kubeconfig)
    labels, fields = selectors(chosen)
    try:
        return (await client.list(Finding, chosen.namespace, label_selector=labels, field_selector=fields)).items
    except ApiError as error:
        hint = "; this cluster keeps no findings (it is not Pilothouse's own)" if error.code == 404 else ""
        raise CommandError(f"findings cannot be read: {error.message}{hint}") from error
    finally:
        await client.close()


def selectors(chosen: FindingFilter) -> tuple[str, str]:
    """What of the choice the server makes: a label selector and a field selector."""
    fields = [] if chosen.state == "all" else [f"status.state={chosen.state}"]
    fields += [f"spec.rule={_escaped(chosen.rule)}"] if chosen.rule is not None else []
    fields += [f"status.owner={_escaped(_owner(chosen.owner))}"] if chosen.owner is not None else []
    labels = f"pilothouse.io/severity in ({','.join(severities(chosen.severity))})" if chosen.severity else ""
    return labels, ",".join(fields)


def severities(least: str | None) -> list[str]:
    """The severities from one on, the worst first. Raises CommandError."""
    try:
        floor = Severity.parse(least) if least else Severity.LOW
    except ValueError as error:
        raise CommandError(f"--severity: {error}", code=2) from error
    return [str(severity) for severity in sorted(Severity, reverse=True) if severity >= floor]


def _owner(named: str) -> str:
    return "" if named == NOBODY else named


def _escaped(text: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", text)


def matcher(chosen: FindingFilter, now: dt.datetime) -> Callable[[Finding], bool]:
    """Whether a finding is asked for. Raises CommandError for what is no severity, state or age."""
    if chosen.state not in (OPEN, ACCEPTED, RESOLVED, "all"):
        raise CommandError(f"--state {chosen.state}: there is open, accepted, resolved and all", code=2)
    least = severities(chosen.severity)
    newer, older = seconds(chosen.newer, "--newer-than"), seconds(chosen.older, "--older-than")

    def wanted(finding: Finding) -> bool:
        spec, status = finding.spec, finding.status
        age = (now - parse_timestamp(status.first_seen)).total_seconds() if status.first_seen else 0.0
        return (
            (chosen.state == "all" or status.state == chosen.state)
            and spec.severity in least
            and (chosen.rule is None or spec.rule == chosen.rule)
            and (chosen.owner is None or (status.owner or NOBODY) == (chosen.owner or NOBODY))
            and (newer is None or age <= newer)
            and (older is None or age >= older)
        )

    return wanted


def seconds(text: str | None, option: str) -> float | None:
    """The seconds of a text such as 90m, 24h, 7d. Raises CommandError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None:
        raise CommandError(f"{option} {text}: write it as 90m, 24h, 7d or 2w", code=2)
    return float(int(match[1]) * _UNITS[match[2]])


def lines(findings: Sequence[Finding]) -> list[str]:
    """Findings by object, each with its message; what is most pressing first, of objects and of each one's findings."""
    if not findings:
        return ["no findings"]
    shown: list[str] = []
    last = None
    now = dt.datetime.now(dt.UTC)
    worst: dict[str, int] = {}
    for finding in findings:
        place = _place(finding)
        worst[place] = max(worst.get(place, 0), finding.spec.risk)
    for finding in sorted(findings, key=lambda f: (-worst[_place(f)], _place(f), -f.spec.risk)):
        place = _place(finding)
        if place != last:
            shown.append(f"{place}   owner: {finding.status.owner or NOBODY}")
            last = place
        age = human_duration((now - parse_timestamp(finding.status.first_seen)).total_seconds())
        container = f"container {finding.spec.container} " if finding.spec.container else ""
        state = "" if finding.status.state == OPEN else f" [{finding.status.state}]"
        shown.append(
            f"  {finding.spec.severity:<9}{age:>6}  {container}{finding.spec.message}{_pressing(finding)}"
            f"  ({finding.spec.rule}){state}"
        )
    counted = Counter(finding.spec.severity for finding in findings)
    told = ", ".join(f"{n} {name}" for name, n in _worst_first(counted))
    shown.append(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}: {told}")
    return shown


def _pressing(finding: Finding) -> str:
    """What makes a vulnerability more or less pressing than its severity says; who silenced it."""
    evidence = finding.spec.evidence
    if SILENCED in evidence:
        return f"; {evidence[SILENCED]}"
    if ADVISORIES not in evidence:
        return ""
    told = ["known to be exploited"] if EXPLOITED in evidence else []
    told += [f"EPSS {float(evidence[EPSS]):.1%}"] if EPSS in evidence else []
    told += [f"pods: {evidence['pods']}"] if evidence.get("pods") else []
    told += [evidence["vex"]] if "vex" in evidence else []
    told += [f"exposed by {evidence['exposure']}"] if "exposure" in evidence else []
    return f"; {', '.join(told)}" if told else ""


def _place(finding: Finding) -> str:
    subject = finding.spec.subject
    return "/".join(part for part in (subject.namespace, subject.kind, subject.name) if part)


def _worst_first(counted: Counter[str]) -> list[tuple[str, int]]:
    return [(str(s), counted[str(s)]) for s in sorted(Severity, reverse=True) if counted[str(s)]]


def summary(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Counts by owner, the worst off first."""
    owners: dict[str, Counter[str]] = {}
    for finding in findings:
        owners.setdefault(finding.status.owner or NOBODY, Counter())[finding.spec.severity] += 1
    severities = [str(severity) for severity in sorted(Severity, reverse=True)]
    order = sorted(owners.items(), key=lambda item: ([-item[1][s] for s in severities], item[0]))
    return [{"owner": owner, **{s: n[s] for s in severities}, "total": n.total()} for owner, n in order]


def summary_lines(rows: Sequence[dict[str, object]]) -> list[str]:
    heads = ("owner", "critical", "high", "medium", "low", "total")
    table = [heads, *(tuple(str(row[head]) for head in heads) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(heads))]
    return [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in table
    ]
