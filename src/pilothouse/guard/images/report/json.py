"""JSON, for programs and as the baseline of a later run."""

from __future__ import annotations

import msgspec

from pilothouse.guard.images.report.document import ScanOutcome, document


def json_text(outcome: ScanOutcome) -> str:
    """The outcome as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document(outcome)), indent=2).decode() + "\n"
