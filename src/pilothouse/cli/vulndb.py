"""`pilothouse vulndb`: brings vulnerability data up to date, and says what there is and how old."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import typer

from pilothouse.cli import output as formats
from pilothouse.cli.errors import CommandError
from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.refresh import DOWNLOADS
from pilothouse.guard.images.data.update import Result, Updater
from pilothouse.guard.images.data.write import forget
from pilothouse.guard.images.live.schedule import Schedule, write_schedule
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.places import FOLDER, data_file, data_folder


def run_update(origin: str | None, data_dir: str) -> int:
    """Updates and tells of each feed; 1 when one could not be brought up to date, its last good data being kept."""
    folder = data_folder(data_dir)
    base = _opened(folder)
    updater = Updater(base, folder / DOWNLOADS)
    if sys.stderr.isatty():
        updater.progress = _show
    failed = found = 0
    try:
        for result in _results(updater, origin):
            if sys.stderr.isatty():
                typer.echo("\r\x1b[K", nl=False, err=True)
            failed += bool(result.error and not result.missing)
            found += not result.missing
            if not result.missing:
                typer.echo(_line(result), err=bool(result.error))
    except NotReadable as error:
        raise CommandError(str(error)) from error
    finally:
        base.close()
    if not found:
        raise CommandError(f"{origin or 'the published feeds'}: none of the files we know is there")
    typer.echo(f"Data is in {folder}.")
    return 1 if failed else 0


def _results(updater: Updater, origin: str | None) -> Iterator[Result]:
    if origin is None:
        return updater.from_defaults()
    if origin.startswith(("http://", "https://")):
        return updater.from_url(origin)
    return updater.from_path(Path(origin))


def run_forget(feed: str, data_dir: str) -> int:
    """Removes a feed."""
    base = _opened(data_folder(data_dir))
    try:
        count = forget(base, feed)
    except KeyError:
        names = ", ".join(entry.name for entry in base.feeds()) or "none"
        raise CommandError(f"there is no feed {feed}; there are: {names}", code=2) from None
    finally:
        base.close()
    typer.echo(f"{feed} and its {count} records are gone.")
    return 0


def run_schedule(hours: float | None, origin: str | None, data_dir: str) -> int:
    """Writes what the engine looks at; None takes it away."""
    if hours is not None and not 0.1 <= hours <= 24 * 30:
        raise CommandError(f"--every {hours:g}: between 0.1 and 720 hours", code=2)
    folder = Path(data_dir) / FOLDER
    if not Path(data_dir).is_dir():
        raise CommandError(f"there is no engine at {data_dir}: a timer of your own can run `pilothouse vulndb update`")
    if origin and not origin.startswith(("http://", "https://")):
        origin = str(Path(origin).resolve())
    try:
        write_schedule(folder, None if hours is None else Schedule(hours, origin or ""))
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}") from error
    typer.echo("No more updates by itself." if hours is None else f"Updates about every {hours:g} hours.")
    return 0


def run_vulndb_status(output: str | None, data_dir: str) -> int:
    """Prints feeds and counts."""
    formats.check(output)
    folder = data_folder(data_dir)
    base = _opened(folder)
    feeds, counts = base.feeds(), base.counts()
    base.close()
    if output:
        tree = {
            "folder": str(folder),
            "counts": counts,
            "feeds": [
                {
                    "name": feed.name,
                    "records": feed.records,
                    "source": feed.url,
                    "updated": _time(feed.updated),
                    "checked": _time(feed.checked),
                    "error": feed.error,
                }
                for feed in feeds
            ],
        }
        formats.write(tree, output)
        return 0
    if not feeds:
        typer.echo(f"There is no vulnerability data in {folder}: pilothouse vulndb update")
        return 0
    width = max(len(feed.name) for feed in feeds)
    for feed in feeds:
        error = f"  {feed.error}" if feed.error else ""
        typer.echo(f"{feed.name:<{width}}  {feed.records:>8}  checked {_age(feed.checked)} ago{error}")
    size = data_file(folder).stat().st_size / 1e6
    typer.echo(
        f"{counts['advisories']} advisories for {counts['packages']} packages, {counts['epss']} EPSS scores, "
        f"{counts['knownExploited']} known to be exploited; {size:.0f} MB in {folder}."
    )
    return 0


def _opened(folder: Path) -> Base:
    try:
        return Base(data_file(folder))
    except NotReadable as error:
        raise CommandError(str(error), code=2) from error


def _show(feed: str, done: int, total: int) -> None:
    of = f" of {total / 1e6:.0f}" if total else ""
    typer.echo(f"\r\x1b[K{feed}: {done / 1e6:.0f}{of} MB", nl=False, err=True)


def _line(result: Result) -> str:
    if result.error:
        return f"{result.feed}: not brought up to date, what was there is kept: {result.error}"
    if result.counts is None:
        return f"{result.feed}: as it was"
    counts = result.counts
    broken = f", {counts.broken} broken left out ({counts.broken_example})" if counts.broken else ""
    return f"{result.feed}: {counts.added} added, {counts.changed} changed, {counts.removed} removed{broken}"


def _age(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _time(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""
