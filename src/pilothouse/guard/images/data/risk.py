"""EPSS scores and CISA's list of known exploited vulnerabilities."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

import msgspec

from pilothouse.guard.images.data.write import Writer
from pilothouse.guard.images.model import NOT_JSON, NotReadable


class _Exploited(msgspec.Struct, rename={"cve": "cveID", "added": "dateAdded"}):
    cve: str
    added: str = ""
    dueDate: str = ""
    knownRansomwareCampaignUse: str = ""


class _Catalogue(msgspec.Struct):
    vulnerabilities: list[_Exploited]


def take_kev(writer: Writer, data: bytes) -> None:
    """Takes the whole list in. Raises NotReadable."""
    try:
        catalogue = msgspec.json.decode(data, type=_Catalogue)
    except NOT_JSON as error:
        raise NotReadable(f"this is no list of known exploited vulnerabilities: {error}") from error
    writer.exploited(
        (entry.cve, entry.added, entry.dueDate, entry.knownRansomwareCampaignUse == "Known")
        for entry in catalogue.vulnerabilities
    )


def take_epss(writer: Writer, lines: Iterable[str]) -> None:
    """Takes all scores in. Raises NotReadable."""
    writer.scores(_scores(lines))


def _scores(lines: Iterable[str]) -> Iterator[tuple[str, float, float]]:
    header: list[str] = []
    for row in csv.reader(line for line in lines if not line.startswith("#")):
        if not header:
            header = row
            if header[:2] != ["cve", "epss"]:
                raise NotReadable("this is no list of EPSS scores: it has no columns cve and epss")
            continue
        try:
            score, percentile = float(row[1]), float(row[2]) if len(row) > 2 else 0.0
        except (ValueError, IndexError):
            raise NotReadable(f"a broken EPSS score: {','.join(row)[:80]}") from None
        if not 0 <= score <= 1:
            raise NotReadable(f"an EPSS score out of range: {','.join(row)[:80]}")
        yield row[0], score, percentile
