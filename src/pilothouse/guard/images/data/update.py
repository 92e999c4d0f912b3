"""Brings the data base up to date, feed by feed; one that fails leaves its last good data and is told of."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pilothouse.guard.images.data.base import Base, Feed
from pilothouse.guard.images.data.download import discard, download
from pilothouse.guard.images.data.feeds import Source, default_sources
from pilothouse.guard.images.data.take import SINGLE, feed_name, kind_of, take_file, take_records
from pilothouse.guard.images.data.write import Counts, Origin
from pilothouse.guard.images.fetch import Http, HttpError
from pilothouse.guard.images.model import NotReadable

_FILES: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one feed: counts when it was taken in, an error when it was not, neither when it is as it was."""

    feed: str
    counts: Counts | None = None
    error: str = ""
    missing: bool = False


@dataclass(slots=True)
class Updater:
    """`progress` is told a feed, and bytes done and in all (0 when unknown)."""

    base: Base
    downloads: Path
    http: Http = field(default_factory=Http)
    progress: Callable[[str, int, int], None] = lambda feed, done, total: None

    def from_defaults(self, sources: Sequence[Source] | None = None) -> Iterator[Result]:
        """Every feed from where it is published."""
        for source in default_sources() if sources is None else sources:
            yield self._fetched(source.name, source.url)

    def from_url(self, url: str, sources: Sequence[Source] | None = None) -> Iterator[Result]:
        """One file, or a mirror when the URL ends with a slash: what it has of the feeds we know."""
        if not url.endswith("/"):
            yield self._fetched("", url)
            return
        for source in default_sources() if sources is None else sources:
            yield self._fetched(source.name, url + source.path)

    def from_path(self, path: Path) -> Iterator[Result]:
        """A file, or all files below a folder. Raises NotReadable when there is none."""
        if path.is_file():
            yield self._taken(path)
            return
        if not path.is_dir():
            raise NotReadable(f"{path} is neither a file nor a folder")
        found = False
        for folder, files in _folders(path):
            for result in self._folder(folder, files):
                found = True
                yield result
        if not found:
            raise NotReadable(f"there is no vulnerability data below {path}")

    def _folder(self, folder: Path, files: list[Path]) -> Iterator[Result]:
        loose: list[Path] = []
        for file in files:
            try:
                kind = kind_of(file)
            except (NotReadable, OSError, EOFError) as error:
                if file.suffix in (".json", ".zip", ".gz", ".xz", ".zst", ".tar", ".jsonl", ".csv"):
                    yield Result(file.name, error=str(error))
                continue
            if kind in SINGLE:
                loose.append(file)
            else:
                yield self._taken(file)
        if loose:
            yield self._loose(folder, loose)

    def _loose(self, folder: Path, files: list[Path]) -> Result:
        name = f"osv/{folder.name or 'records'}"
        try:
            return Result(name, take_records(self.base, files, name, Origin(str(folder.resolve()))))
        except (NotReadable, OSError) as error:
            return self._failed(name, str(error))

    def _taken(self, path: Path) -> Result:
        name = path.name
        try:
            kind = kind_of(path)
            name = feed_name(path.resolve(), kind)
            digest = _digest(path)
            known = self._known(name)
            if known is not None and known.digest == digest and not known.error:
                self._checked(name)
                return Result(name)
            return Result(name, take_file(self.base, path, name, Origin(str(path.resolve()), digest=digest), kind))
        except (NotReadable, OSError, EOFError) as error:
            return self._failed(name, str(error))

    def _fetched(self, name: str, url: str) -> Result:
        known = self._known(name) if name else next((feed for feed in self.base.feeds() if feed.url == url), None)
        shown = name or url
        same = known is not None and known.url == url
        try:
            got = download(
                self.http,
                url,
                self.downloads,
                known.etag if same and known else "",
                known.modified if same and known else "",
                lambda done, total: self.progress(shown, done, total),
            )
            if got is None or (known is not None and known.digest == got.digest):
                discard(self.downloads, url)
                self._checked(known.name if known else shown)
                return Result(known.name if known else shown)
            kind = kind_of(got.path)
            name = name or (known.name if known else feed_name(Path(url.partition("?")[0].partition("://")[2]), kind))
            counts = take_file(self.base, got.path, name, Origin(url, got.etag, got.modified, got.digest), kind)
        except HttpError as error:
            if error.status in (403, 404):
                return Result(shown, error=str(error), missing=True)
            return self._failed(shown, str(error))
        except (NotReadable, OSError, EOFError) as error:
            if not str(error).startswith("the connection") and "cannot be reached" not in str(error):
                discard(self.downloads, url)
            return self._failed(name or shown, str(error))
        discard(self.downloads, url)
        return Result(name, counts)

    def _known(self, name: str) -> Feed | None:
        return next((feed for feed in self.base.feeds() if feed.name == name), None)

    def _checked(self, name: str) -> None:
        with self.base.lock:
            self.base.connection.execute("UPDATE feed SET checked=?, error='' WHERE name=?", (time.time(), name))

    def _failed(self, name: str, error: str) -> Result:
        with self.base.lock:
            self.base.connection.execute("UPDATE feed SET error=? WHERE name=?", (error[:500], name))
        return Result(name, error=error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders with their files, in order; links are not followed."""
    count = 0
    for folder, names, files in os.walk(root):
        names.sort()
        count += len(files)
        if count > _FILES:
            raise NotReadable(f"more than {_FILES} files below {root}")
        yield Path(folder), [Path(folder, name) for name in sorted(files) if not Path(folder, name).is_symlink()]
