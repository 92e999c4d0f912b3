"""JUnit XML: a suite a subject, a failed case a flaw, an error what was not scanned."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pilothouse.guard.images.match.flaw import remedy
from pilothouse.guard.images.report.document import ScanOutcome, Subject

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: ScanOutcome) -> str:
    """The outcome as one `testsuites` element."""
    root = Element("testsuites", name="pilothouse scan")
    for subject in outcome.subjects:
        _suite(root, subject)
    for name, reason in outcome.unread:
        suite = _element(root, "testsuite", name=name, tests="1", failures="0", errors="1")
        _element(_element(suite, "testcase", classname=name, name="read"), "error", message=reason)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, subject: Subject) -> None:
    failures = len(subject.flaws) + len(subject.weaknesses)
    errors = len(subject.result.not_scanned)
    suite = _element(
        root,
        "testsuite",
        name=subject.name,
        tests=str(failures + errors + 1),
        failures=str(failures),
        errors=str(errors),
    )
    name = f"{len(subject.result.inventory.packages)} packages looked up"
    _element(suite, "testcase", classname=subject.name, name=name)
    for reason in subject.result.not_scanned:
        case = _element(suite, "testcase", classname=subject.name, name="not scanned")
        _element(case, "error", message=reason)
    for flaw in subject.flaws:
        case = _element(suite, "testcase", classname=subject.name, name=f"{flaw.id} {flaw.package} {flaw.version}")
        failure = _element(case, "failure", message=f"{flaw.severity}: {flaw.summary}", type=flaw.severity)
        failure.text = _clean("\n".join(("\n".join(flaw.paths), remedy(flaw), *flaw.references)).strip())
    for entry in subject.weaknesses:
        case = _element(suite, "testcase", classname=subject.name, name=f"{entry.check.id} {entry.path}".strip())
        failure = _element(case, "failure", message=entry.message, type=str(entry.check.severity))
        failure.text = _clean(f"{entry.check.why}\n{entry.check.remedy}")


def _element(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {key: _clean(value) for key, value in attributes.items()})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
