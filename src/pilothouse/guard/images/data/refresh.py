"""An update in a process of its own: `python -m pilothouse.guard.images.data.refresh FOLDER [URL|DIR|FILE]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pilothouse.guard.images.data.base import FILE, Base
from pilothouse.guard.images.data.update import Result, Updater
from pilothouse.guard.images.model import NotReadable

DOWNLOADS = "downloads"


def refresh(folder: Path, origin: str | None) -> list[Result]:
    """Updates from an origin, or from where feeds are published. Raises NotReadable."""
    base = Base(folder / FILE)
    updater = Updater(base, folder / DOWNLOADS)
    try:
        if not origin:
            return list(updater.from_defaults())
        if origin.startswith(("http://", "https://")):
            return list(updater.from_url(origin))
        return list(updater.from_path(Path(origin)))
    finally:
        base.close()


def main(arguments: list[str]) -> int:
    """1 when a feed could not be brought up to date; errors on standard error."""
    os.nice(10)
    try:
        results = refresh(Path(arguments[0]), arguments[1] if len(arguments) > 1 else None)
    except NotReadable as error:
        print(error, file=sys.stderr)
        return 1
    failed = [result for result in results if result.error and not result.missing]
    for result in failed:
        print(f"{result.feed}: {result.error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
