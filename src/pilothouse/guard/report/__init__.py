"""A report in the forms people and programs read; each a pure function from report to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilothouse.guard.report.document import Outcome
from pilothouse.guard.report.github import github
from pilothouse.guard.report.gitlab import gitlab
from pilothouse.guard.report.json import json_text, yaml_text
from pilothouse.guard.report.junit import junit
from pilothouse.guard.report.policyreport import policyreport
from pilothouse.guard.report.sarif import sarif
from pilothouse.guard.report.tables import csv_text, markdown

FORMATS: Mapping[str, Callable[[Outcome], str]] = {
    "json": json_text,
    "yaml": yaml_text,
    "sarif": sarif,
    "junit": junit,
    "github": github,
    "gitlab": gitlab,
    "csv": csv_text,
    "markdown": markdown,
    "policyreport": policyreport,
}
