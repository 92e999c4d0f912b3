"""A YAML file of settings, read anew when it changes.

One that cannot be used at the start is an error: a server without what it was told about who may do what must not
serve. One that becomes unusable later changes nothing, which is logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_LOOK_SECONDS: Final = 1.0
log = logging.getLogger(__name__)


class InvalidSettings(ValueError):
    """Settings that cannot be used; the message says where and why."""


class SettingsFile(Generic[T]):
    """`read` makes settings of the file's tree, raising InvalidSettings; without a file they are `default`.

    Raises InvalidSettings when made, naming the file.
    """

    def __init__(
        self, path: Path, read: Callable[[Any], T], default: T, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._read = read
        self._default = default
        self._now = now
        self._looked = now()
        self._stamp = self._look()
        try:
            self._settings = self._load()
        except (InvalidSettings, OSError) as error:
            raise InvalidSettings(f"{path}: {error}") from error

    def current(self) -> T:
        """The settings; the same object until the file changes. Looks at the file once a second at most."""
        now = self._now()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
        return self._settings

    def _reload(self) -> None:
        try:
            self._settings = self._load()
        except (InvalidSettings, OSError) as error:
            log.error("%s cannot be used, what was in force goes on: %s", self._path, error)
        else:
            log.info("%s was read anew", self._path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> T:
        import yaml

        from pilothouse.machinery.yaml_bounds import check_bounds

        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return self._default
        try:
            check_bounds(text)
            tree = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidSettings(" ".join(str(error).split())) from error
        return self._read(tree)
