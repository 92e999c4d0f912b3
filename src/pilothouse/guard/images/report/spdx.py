"""SPDX 2.3 as JSON: the packages of every subject. It has no place for vulnerabilities.

Source: SPDX specification 2.3, clauses 6, 7 and 11.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec

from pilothouse import __version__
from pilothouse.guard.images.inventory.sbom import NOT_READ
from pilothouse.guard.images.report.document import ScanOutcome, Subject, not_read
from pilothouse.guard.images.report.purl import purl_of

_NONE = "NOASSERTION"


def spdx(outcome: ScanOutcome) -> str:
    """The outcome as one document."""
    packages: list[dict[str, Any]] = []
    relations: list[dict[str, str]] = []
    for number, subject in enumerate(outcome.subjects):
        _subject(subject, number, packages, relations)
    name = outcome.subjects[0].name if len(outcome.subjects) == 1 else "pilothouse scan"
    tree = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:uuid:{uuid.uuid4()}",
        "creationInfo": {
            "created": _now(),
            "creators": [f"Tool: pilothouse-{__version__}"],
        },
        "documentDescribes": [f"SPDXRef-Subject-{number}" for number in range(len(outcome.subjects))],
        "packages": packages,
        "relationships": relations,
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n"


def _subject(subject: Subject, number: int, packages: list[dict[str, Any]], relations: list[dict[str, str]]) -> None:
    inventory = subject.result.inventory
    own = f"SPDXRef-Subject-{number}"
    purpose = "CONTAINER" if inventory.kind == "image" else "APPLICATION"
    described: dict[str, Any] = _package(own, inventory.name, inventory.digest, purpose)
    described["annotations"] = [_annotation(reason) for reason in not_read(subject)]
    packages.append(described)
    relations.append(_relation("SPDXRef-DOCUMENT", "DESCRIBES", own))
    if inventory.system is not None:
        system = inventory.system
        reference = f"SPDXRef-System-{number}"
        version = system.version or system.codename
        packages.append(
            {**_package(reference, system.id, version, "OPERATING-SYSTEM"), "comment": system.name or system.id}
        )
        relations.append(_relation(own, "CONTAINS", reference))
    for index, placed in enumerate(inventory.packages):
        reference = f"SPDXRef-Package-{number}-{index}"
        package = _package(reference, placed.package.name, placed.package.version, "LIBRARY")
        package["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl_of(placed.package, inventory.system),
            }
        ]
        packages.append(package)
        relations.append(_relation(own, "CONTAINS", reference))


def _annotation(reason: str) -> dict[str, str]:
    return {
        "annotationDate": _now(),
        "annotationType": "OTHER",
        "annotator": f"Tool: pilothouse-{__version__}",
        "comment": f"{NOT_READ}: {reason}",
    }


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _package(reference: str, name: str, version: str, purpose: str) -> dict[str, Any]:
    found = {
        "SPDXID": reference,
        "name": name,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
        "primaryPackagePurpose": purpose,
    }
    if version:
        found["versionInfo"] = version
    return found


def _relation(subject: str, kind: str, object_: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": object_}
