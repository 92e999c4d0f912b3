"""JSON and YAML, for programs and as the baseline of a later run."""

from __future__ import annotations

import msgspec
import yaml

from pilothouse.guard.report.document import Outcome, document


def json_text(outcome: Outcome) -> str:
    """The outcome as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document(outcome)), indent=2).decode() + "\n"


def yaml_text(outcome: Outcome) -> str:
    """The outcome as YAML."""
    return str(yaml.safe_dump(document(outcome), sort_keys=False, allow_unicode=True, width=120))
