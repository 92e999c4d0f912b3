"""When a row of outcomes changes what is held to be so. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counter:
    """Thresholds of one probe; `verdict` is None until the first is reached."""

    success_threshold: int
    failure_threshold: int
    verdict: bool | None = None
    _last: bool | None = None
    _row: int = 0

    def add(self, success: bool) -> bool:
        """Counts an outcome; True when the verdict changed, or failed once more at its threshold."""
        self._row = self._row + 1 if success is self._last else 1
        self._last = success
        if self._row < (self.success_threshold if success else self.failure_threshold):
            return False
        changed = self.verdict is not success
        self.verdict = success
        return changed

    def restart(self) -> None:
        """Begins to count anew, as after the container was restarted."""
        self.verdict, self._last, self._row = None, None, 0
