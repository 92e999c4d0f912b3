"""One report object as findings by tool, and what of it cannot be read. Pure.

A report is written by somebody else: it may hold anything, and as much as it likes. What is longer than people read is
cut, of very many results the worst are kept, and what has another shape is told as a finding of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pilothouse.guard.finding import CATEGORIES, Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import Found
from pilothouse.guard.policy_reports.format import (
    ERROR,
    FAIL,
    MANAGED_BY,
    OWN_NAME,
    PASS,
    RESULTS,
    SEVERITIES,
    SKIP,
    WARN,
)
from pilothouse.machinery.objects import Obj

SOURCE: Final = "policy-reports"
"""Of what is wrong with the reports themselves."""
LARGEST: Final = 1_000
"""Findings kept of one report."""
UNREADABLE: Final = Check(
    "policy-report-unreadable",
    "A report that cannot be read",
    Severity.MEDIUM,
    "hygiene",
    "What it says is not seen by anybody.",
    "# see the reason; the tool that writes the report has to mend it",
)
LEFT_OUT: Final = Check(
    "policy-report-left-out",
    "A report with more findings than are kept",
    Severity.MEDIUM,
    "hygiene",
    "What is not kept is not seen by anybody.",
    "# look at the report itself, or have its tool write one for each object",
)
_OURS: Final = frozenset({"checks", "images", "access", "exemptions", "findings", "node", "nodes", SOURCE, OWN_NAME})
"""Sources of the engine's own findings, which no report may pass for."""
_UNSAID: Final = {FAIL: Severity.MEDIUM, WARN: Severity.LOW, ERROR: Severity.MEDIUM}
_LONGEST: Final = {"id": 200, "text": 1_000, "remedy": 2_000}
_REMEDIES: Final = ("remediation", "remedy", "resolution", "recommendation")
_MOST_RESOURCES: Final = 100


class _Malformed(ValueError):
    """A result of another shape; the message says which."""


def is_ours(tree: Obj) -> bool:
    """Whether a report is one that we write, and says nothing new."""
    labels = _mapping(_mapping(tree.get("metadata")).get("labels"))
    return labels.get(MANAGED_BY) == OWN_NAME


def read_report(tree: Obj) -> dict[str, tuple[Found, ...]]:
    """What a report says: findings by source."""
    ref = _identity(tree)
    wrong: list[str] = []
    results = tree.get("results")
    if results is not None and not isinstance(results, list):
        wrong.append("results is no list")
    entries: list[tuple[str, Found]] = []
    count = 0
    for index, result in enumerate(results if isinstance(results, list) else ()):
        count += 1
        try:
            entries += _findings(tree, ref, result, f"results[{index}]")
        except _Malformed as error:
            wrong.append(str(error))
    kept = sorted(entries, key=lambda entry: -entry[1].finding.check.severity)[:LARGEST]
    found: dict[str, list[Found]] = {}
    for source, entry in kept:
        found.setdefault(source, []).append(entry)
    own = list(_of_the_report(ref, wrong, count, len(entries) - len(kept)))
    if own:
        found[SOURCE] = own
    return {source: tuple(of) for source, of in found.items()}


def _of_the_report(ref: Ref, wrong: list[str], count: int, left_out: int) -> Iterator[Found]:
    if wrong:
        said = f"{len(wrong)} of its {count} results cannot be read: {wrong[0]}" if count else wrong[0]
        yield Found(Finding(UNREADABLE, ref, _cut(said, "text")))
    if left_out:
        said = f"has {LARGEST + left_out} findings; the {LARGEST} worst of them are kept"
        yield Found(Finding(LEFT_OUT, ref, said))


def _identity(tree: Obj) -> Ref:
    metadata = _mapping(tree.get("metadata"))
    return Ref(
        str(tree.get("apiVersion")),
        str(tree.get("kind")),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or ""),
    )


def _findings(tree: Obj, ref: Ref, result: Any, at: str) -> Iterator[tuple[str, Found]]:
    if not isinstance(result, dict):
        raise _Malformed(f"{at} is no object")
    said = result.get("result", FAIL)
    if said not in RESULTS:
        raise _Malformed(f"{at}.result is {_cut(repr(said), 'id')}; there are {', '.join(RESULTS)}")
    if said in (PASS, SKIP):
        return
    source = source_of(tree, result)
    check = _check(result, said, at, source)
    message = _text(result, "message", at) or check.title
    if said == ERROR:
        message = f"could not be checked: {message}"
    evidence = {"report": f"{ref.kind}/{ref.name}", "result": said}
    for key in ("category", "rule"):
        if value := _text(result, key, at):
            evidence[key] = _cut(value, "id")
    for subject, field in _subjects(tree, ref, result, at):
        yield source, Found(Finding(check, subject, _cut(message, "text"), "", field), evidence)


def source_of(tree: Obj, result: Obj) -> str:
    """The tool that says so, as it is shown: `kyverno`, `trivy-vulnerability`."""
    labels = _mapping(_mapping(tree.get("metadata")).get("labels"))
    named = result.get("source") or tree.get("source") or labels.get(MANAGED_BY) or "policy-report"
    text = re.sub(r"[^a-z0-9.]+", "-", str(named).lower())[:60].strip("-.") or "policy-report"
    return f"{text}-reported" if text in _OURS else text


def _check(result: Obj, said: str, at: str, source: str) -> Check:
    policy, rule = _text(result, "policy", at), _text(result, "rule", at)
    if not policy:
        raise _Malformed(f"{at}.policy is missing")
    named = f"{policy}/{rule}" if rule and rule != policy else policy
    text = _text(result, "severity", at).lower()
    if text and text not in SEVERITIES:
        raise _Malformed(f"{at}.severity is {_cut(repr(text), 'id')}; there are {', '.join(SEVERITIES)}")
    category = _text(result, "category", at)
    properties = _mapping(result.get("properties"))
    remedy = next((str(properties[name]) for name in _REMEDIES if properties.get(name)), "")
    return Check(
        _cut(named, "id"),
        _cut(rule or policy, "id"),
        SEVERITIES.get(text, _UNSAID[said]),
        category.lower() if category.lower() in CATEGORIES else "security",
        f"{source} reports it.",
        _cut(remedy or f"# see the policy {policy} of {source}", "remedy"),
        _cut(category, "id") if category.lower() not in CATEGORIES else "",
    )


def _subjects(tree: Obj, ref: Ref, result: Obj, at: str) -> Iterator[tuple[Ref, str]]:
    """The objects a result is about, each with a field path: those it names, else the report's scope, else itself."""
    named = result.get("resources")
    if named is not None and not isinstance(named, list):
        raise _Malformed(f"{at}.resources is no list")
    if named and len(named) > _MOST_RESOURCES:
        raise _Malformed(f"{at} names more than {_MOST_RESOURCES} resources")
    entries = named or ([tree["scope"]] if tree.get("scope") else [])
    for entry in entries:
        if not isinstance(entry, dict) or not all(_is_name(entry.get(key)) for key in ("kind", "name")):
            raise _Malformed(f"{at}: an object it is about has no kind and name")
        namespace = str(entry.get("namespace") or ref.namespace)
        if ref.namespace and namespace != ref.namespace:
            # Who may write reports in one namespace must not put findings into another.
            raise _Malformed(f"{at} is about an object of another namespace, {_cut(namespace, 'id')}")
        subject = Ref(str(entry.get("apiVersion") or "v1"), entry["kind"], namespace, entry["name"])
        yield subject, _cut(str(entry.get("fieldPath") or ""), "id")
    if not entries:
        yield ref, ""


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 253


def _text(result: Obj, key: str, at: str) -> str:
    value = result.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Malformed(f"{at}.{key} is no text")
    return value.strip()


def _mapping(value: Any) -> Obj:
    return value if isinstance(value, dict) else {}


def _cut(text: str, what: str) -> str:
    longest = _LONGEST[what]
    return text if len(text) <= longest else text[: longest - 1] + "…"
