"""A report of another scanner, whichever it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import NOT_JSON, NotReadable
from pilothouse.guard.images.others.entries import RiskOf
from pilothouse.guard.images.others.grype import grype_result, is_grype
from pilothouse.guard.images.others.trivy import is_trivy, trivy_result

LARGEST: Final = 256 * MIB


def result_in(file: Path, risk: RiskOf) -> Result:
    """What a report in a file says. Raises NotReadable, OSError."""
    if file.stat().st_size > LARGEST:
        raise NotReadable(f"{file}: larger than {LARGEST >> 20} MiB")
    return result_of(file.read_bytes(), str(file), risk)


def result_of(data: bytes, name: str, risk: RiskOf) -> Result:
    """What a report says. Raises NotReadable."""
    try:
        tree = msgspec.json.decode(data)
    except NOT_JSON as error:
        raise NotReadable(f"{name}: no JSON: {error}") from error
    if is_trivy(tree):
        return trivy_result(data, name, risk)
    if is_grype(tree):
        return grype_result(data, name, risk)
    raise NotReadable(f"{name}: neither Trivy's JSON (trivy … --format json) nor Grype's (grype … -o json)")
