"""Fetches a published file: only when it has changed, from where it broke off, and whole before it counts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pilothouse.guard.images.fetch import Answer, Headers, Http
from pilothouse.guard.images.inventory.limits import GIB
from pilothouse.guard.images.model import NotReadable

_LARGEST: Final = 8 * GIB
_RESUMES: Final = 5


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that is there whole, and the validators to ask with the next time."""

    path: Path
    etag: str
    modified: str
    digest: str


def download(
    http: Http,
    url: str,
    folder: Path,
    etag: str = "",
    modified: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Downloaded | None:
    """The file below `folder`, or None when it is as it was. What was fetched before a break is kept and gone on from.

    Raises HttpError, NotReadable, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (hashlib.sha256(url.encode()).hexdigest()[:24] + ".part")
    for left in reversed(range(_RESUMES)):
        answer = _ask(http, url, part, etag, modified)
        if answer is None:
            return None
        try:
            _receive(answer, part, progress)
        except NotReadable as error:
            if not left or "connection" not in str(error):
                raise
            continue
        return _finished(answer.headers, part)
    raise AssertionError("the last try returns or raises")


def discard(folder: Path, url: str) -> None:
    """Forgets what was fetched of a file that turned out broken."""
    part = folder / (hashlib.sha256(url.encode()).hexdigest()[:24] + ".part")
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_suffix(".json")


def _ask(http: Http, url: str, part: Path, etag: str, modified: str) -> Answer | None:
    headers: dict[str, str] = {}
    validator = _validator(part)
    done = part.stat().st_size if part.exists() else 0
    if done and validator:
        headers = {"Range": f"bytes={done}-", "If-Range": validator}
    elif etag:
        headers = {"If-None-Match": etag}
    elif modified:
        headers = {"If-Modified-Since": modified}
    answer = http.get(url, headers, accept=(304, 416))
    if answer.status == 304:
        return None
    if answer.status == 416:
        part.unlink()
        return _ask(http, url, part, etag, modified)
    if answer.status != 206:
        part.unlink(missing_ok=True)
    _remember(part, answer.headers)
    return answer


def _validator(part: Path) -> str:
    """A strong validator of what a partial file is a part of."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        note = json.loads(_note(part).read_text())
        etag = str(note.get("etag") or "")
        return etag if etag and not etag.startswith("W/") else str(note.get("modified") or "")
    return ""


def _remember(part: Path, headers: Headers) -> None:
    note = {"etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")}
    _note(part).write_text(json.dumps(note))


def _receive(answer: Answer, part: Path, progress: Callable[[int, int], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    length = answer.headers.get("Content-Length", "")
    total = done + int(length) if length.isdigit() else 0
    with part.open("ab") as file:
        for piece in answer.pieces():
            done += len(piece)
            if done > _LARGEST:
                raise NotReadable(f"larger than {_LARGEST >> 30} GiB")
            file.write(piece)
            progress(done, total)
        file.flush()
        os.fsync(file.fileno())


def _finished(headers: Mapping[str, str] | Headers, part: Path) -> Downloaded:
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with part.open("rb") as file:
        while piece := file.read(1024 * 1024):
            for digest in digests.values():
                digest.update(piece)
    for entry in (headers.get("x-goog-hash") or "").split(","):
        name, _, value = entry.strip().partition("=")
        if name == "md5" and base64.b64encode(digests["md5"].digest()).decode() != value:
            part.unlink()
            raise NotReadable("what arrived does not match the checksum that the server gives")
    return Downloaded(
        part, headers.get("ETag") or "", headers.get("Last-Modified") or "", digests["sha256"].hexdigest()
    )
