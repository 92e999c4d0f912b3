"""JSON and YAML, for programs and as the baseline of a later run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
import yaml

from pilothouse.guard.finding import Check, Finding
from pilothouse.guard.report.document import Outcome, about_check, about_object, document

_PLACE = "PLACE OF FINDINGS"


def json_text(outcome: Outcome) -> str:
    """The outcome as indented JSON. Findings are put together from texts: they are many and much alike."""
    if not outcome.report.findings:
        return _indented(document(outcome))
    whole = _indented({**document(outcome, findings=False), "findings": _PLACE})
    before, after = whole.split(f'"{_PLACE}"')
    return f"{before}[\n{_findings(outcome.report.findings)}\n  ]{after}"


def _findings(findings: Sequence[Finding]) -> str:
    checks = {id(check): _of_check(check) for check in {id(f.check): f.check for f in findings}.values()}
    refs = {ref: _lines(about_object(ref).items()) for ref in {f.ref for f in findings}}
    return ",\n".join(
        f'''    {{
{checks[id(finding.check)][0]},
      "message": {_text(finding.message)},
{refs[finding.ref]},
      "container": {_text(finding.container)},
      "field": {_text(finding.field)},
      "file": {_text(finding.file)},
      "line": {finding.line},
{checks[id(finding.check)][1]},
      "fingerprint": "{finding.fingerprint}"
    }}'''
        for finding in findings
    )


def _of_check(check: Check) -> tuple[str, str]:
    before, after = about_check(check)
    return _lines(before.items()), _lines(after.items())


def _lines(fields: Iterable[tuple[str, str]]) -> str:
    return ",\n".join(f'      "{name}": {_text(value)}' for name, value in fields)


@lru_cache(4096)
def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()


def _indented(tree: object) -> str:
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n"


def yaml_text(outcome: Outcome) -> str:
    """The outcome as YAML."""
    return str(yaml.safe_dump(document(outcome), sort_keys=False, allow_unicode=True, width=120))
