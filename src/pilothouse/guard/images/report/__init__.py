"""A scan in the forms people and programs read; each a pure function from outcome to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilothouse.guard.images.report.cyclonedx import cyclonedx
from pilothouse.guard.images.report.document import ScanOutcome
from pilothouse.guard.images.report.json import json_text
from pilothouse.guard.images.report.junit import junit
from pilothouse.guard.images.report.sarif import sarif
from pilothouse.guard.images.report.spdx import spdx

FORMATS: Mapping[str, Callable[[ScanOutcome], str]] = {
    "json": json_text,
    "sarif": sarif,
    "junit": junit,
    "cyclonedx": cyclonedx,
    "spdx": spdx,
}
