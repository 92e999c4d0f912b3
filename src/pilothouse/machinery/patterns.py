"""Regular expressions that users bring: RE2, which takes time linear in the text whatever the expression.

Python's own engine backtracks, so that `(a+)+$` on thirty characters would stop the process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_MEMORY = 1 << 20
"""Bytes a compiled expression may take; repetitions that unfold beyond it are refused."""
_LONGEST = 10_000
_INSTRUCTIONS = 20_000
BUDGET = 50_000_000
"""Instructions times characters that matching may take for one object: a quarter of a second at the very worst."""


class InvalidPattern(ValueError):
    """The expression is not RE2's, or too large; the message says why."""


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    import re2  # late: most objects meet no pattern

    if len(pattern) > _LONGEST:
        raise InvalidPattern(f"longer than {_LONGEST} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        why = error.args[0] if error.args else error
        raise InvalidPattern(why.decode() if isinstance(why, bytes) else str(why)) from error
    if compiled.programsize > _INSTRUCTIONS:
        raise InvalidPattern(
            f"too large: it unfolds to {compiled.programsize} instructions, {_INSTRUCTIONS} are allowed"
        )
    return compiled


def check_pattern(pattern: str) -> None:
    """Raises InvalidPattern."""
    _compiled(pattern)


def cost(pattern: str, text: str) -> int:
    """The most that `found_in` may take, in units of `BUDGET`. Raises InvalidPattern."""
    size: int = _compiled(pattern).programsize
    return size * len(text)


def found_in(pattern: str, text: str) -> bool:
    """Whether the expression matches somewhere in the text. Raises InvalidPattern."""
    return _compiled(pattern).search(text) is not None
