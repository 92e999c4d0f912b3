"""The signals that may stop a container. Source: the Pod API's `lifecycle.stopSignal` (KEP-4960)."""

from __future__ import annotations

import signal

_REAL_TIME = "SIGRTMIN", "SIGRTMAX"


def _named() -> dict[str, int]:
    # SIGCLD, SIGIOT and SIGPOLL are second names; the runtime's own SIGSTKFLT is unknown to Python.
    found = {name: int(number) for name, number in signal.Signals.__members__.items() if name not in _REAL_TIME}
    first, last = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
    found |= {f"SIGRTMIN+{step}": first + step for step in range(1, 16)}
    found |= {f"SIGRTMAX-{step}": last - step for step in range(1, 15)}
    return found | {"SIGRTMIN": first, "SIGRTMAX": last, "SIGSTKFLT": 16}


STOP_SIGNALS = _named()
"""Number by name."""
