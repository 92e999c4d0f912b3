"""JUnit XML, which every pipeline shows: a suite an object, a failed case a finding, an error what is not checked."""

from __future__ import annotations

import re
from collections import defaultdict
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pilothouse.guard.finding import Finding
from pilothouse.guard.report.document import Outcome, acceptance, place_of, sentence, written_at

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: Outcome) -> str:
    """The outcome as one `testsuites` element. Objects without findings count as a passed case of the first suite."""
    root = Element("testsuites", name="pilothouse check")
    suites: dict[str, list[Finding]] = defaultdict(list)
    for finding in outcome.report.findings:
        suites[str(finding.ref)].append(finding)
    clean = max(outcome.report.objects - len(suites), 0)
    _suite(root, "read and checked", clean, outcome)
    for name, findings in suites.items():
        suite = _element(
            root, "testsuite", name=name, tests=str(len(findings)), failures=str(len(findings)), errors="0"
        )
        for finding in findings:
            _failure(suite, name, finding)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, name: str, clean: int, outcome: Outcome) -> None:
    """What could not be read or evaluated, what is accepted, and how many objects have no finding."""
    missed = [(f"{e.check_id} {e.ref}", e.reason, e.unusual) for e in outcome.report.not_evaluated]
    unread = [(f"{e.file}:{e.line}" if e.line else e.file, e.message, True) for e in outcome.unread]
    accepted = [(f"{e.finding.check.id} {e.finding.ref}", acceptance(e), False) for e in outcome.report.accepted]
    entries = unread + missed + accepted
    errors = sum(unusual for _, _, unusual in entries)
    suite = _element(
        root,
        "testsuite",
        name=name,
        tests=str(len(entries) + 1),
        failures="0",
        errors=str(errors),
        skipped=str(len(entries) - errors),
    )
    _element(suite, "testcase", classname=name, name=f"{clean} objects without findings")
    for case_name, message, unusual in entries:
        case = _element(suite, "testcase", classname=name, name=case_name)
        _element(case, "error" if unusual else "skipped", message=message)


def _failure(suite: Element, name: str, finding: Finding) -> None:
    title = f"{finding.check.id} {finding.container}".strip()
    file, line = written_at(finding.file, finding.line)
    case = _element(suite, "testcase", classname=name, name=title, file=file)
    if line:
        case.set("line", str(line))
    failure = _element(case, "failure", message=sentence(finding), type=str(finding.check.severity))
    lines = (place_of(finding), finding.field, finding.check.why, finding.check.remedy)
    failure.text = _clean("\n".join(line for line in lines if line))


def _element(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {key: _clean(value) for key, value in attributes.items()})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
