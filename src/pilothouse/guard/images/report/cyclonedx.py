"""CycloneDX 1.6 as JSON: components of every subject, and their vulnerabilities.

Source: CycloneDX 1.6 JSON reference. Written by hand: the library for it takes 4 MB and 250 ms to import.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec

from pilothouse import __version__
from pilothouse.guard.images.inventory.sbom import NOT_READ
from pilothouse.guard.images.match.flaw import Flaw, remedy
from pilothouse.guard.images.report.document import ScanOutcome, Subject, not_read
from pilothouse.guard.images.report.purl import purl_of

_METHODS = {"CVSS:4.0": "CVSSv4", "CVSS:3.1": "CVSSv31", "CVSS:3.0": "CVSSv3"}
_SEVERITY = {"negligible": "info"}


def cyclonedx(outcome: ScanOutcome) -> str:
    """The outcome as one BOM."""
    components: list[dict[str, Any]] = []
    vulnerabilities: dict[str, dict[str, Any]] = {}
    for number, subject in enumerate(outcome.subjects):
        references = _components(subject, number, components)
        for flaw in subject.flaws:
            entry = vulnerabilities.setdefault(flaw.id, _vulnerability(flaw))
            for name in flaw.packages or (flaw.package,):
                for reference in references.get((flaw.type, name, flaw.version), ()):
                    if {"ref": reference} not in entry["affects"]:
                        entry["affects"].append({"ref": reference})
    tree = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "pilothouse", "version": __version__}]},
            **({"component": _described(outcome.subjects[0], 0)} if len(outcome.subjects) == 1 else {}),
            "properties": [
                {"name": f"pilothouse:{kind}", "value": f"{subject.name}: {reason}"}
                for subject in outcome.subjects
                for kind, reasons in (("not-scanned", subject.result.not_scanned), (NOT_READ, not_read(subject)))
                for reason in reasons
            ],
        },
        "components": components,
        "compositions": _compositions(outcome),
        "vulnerabilities": list(vulnerabilities.values()),
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n"


def _compositions(outcome: ScanOutcome) -> list[dict[str, Any]]:
    """Of one subject only: with several, none of them is the BOM's own."""
    if len(outcome.subjects) != 1 or not not_read(outcome.subjects[0]):
        return []
    return [{"aggregate": "incomplete", "assemblies": ["subject-0"]}]


def _described(subject: Subject, number: int) -> dict[str, Any]:
    inventory = subject.result.inventory
    kind = "container" if inventory.kind == "image" else "application"
    found = {"type": kind, "bom-ref": f"subject-{number}", "name": inventory.name}
    if inventory.digest:
        found["version"] = inventory.digest
    return found


def _components(subject: Subject, number: int, into: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[str]]:
    """Appends the components; their references by type, name and version."""
    inventory = subject.result.inventory
    if inventory.system is not None:
        system = inventory.system
        into.append(
            {
                "type": "operating-system",
                "bom-ref": f"system-{number}",
                "name": system.id,
                "version": system.version or system.codename,
                "description": system.name,
            }
        )
    references: dict[tuple[str, str, str], list[str]] = {}
    for index, placed in enumerate(inventory.packages):
        package = placed.package
        reference = f"package-{number}-{index}"
        properties = [{"name": "pilothouse:path", "value": package.path}] if package.path else []
        if 0 <= placed.layer < len(inventory.layers):
            properties.append({"name": "pilothouse:layer", "value": inventory.layers[placed.layer].digest})
        into.append(
            {
                "type": "library",
                "bom-ref": reference,
                "name": package.name,
                "version": package.version,
                "purl": purl_of(package, inventory.system),
                "properties": properties,
            }
        )
        references.setdefault((package.type, package.name, package.version), []).append(reference)
    return references


def _vulnerability(flaw: Flaw) -> dict[str, Any]:
    found_rating: dict[str, Any] = {"severity": _SEVERITY.get(flaw.severity, flaw.severity)}
    if flaw.vector:
        found_rating |= {
            "score": flaw.score,
            "method": _METHODS.get(flaw.vector[:8], "CVSSv2"),
            "vector": flaw.vector,
        }
    return {
        "id": flaw.id,
        "references": [
            {"id": ident, "source": {"name": flaw.feeds[0] if flaw.feeds else "osv"}} for ident in flaw.ids[1:]
        ],
        "ratings": [found_rating],
        "description": flaw.summary,
        "recommendation": remedy(flaw),
        "advisories": [{"url": link} for link in flaw.references],
        "affects": [],
    }
