"""Sets of completion indexes as a Job's fields write them: `1,3-5,7`. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse_indexes(text: str, below: int) -> set[int]:
    """The indexes of a text, those of `below` and above left out. Raises ValueError."""
    found: set[int] = set()
    last = -1
    for part in text.split(",") if text else ():
        first_text, hyphen, end_text = part.partition("-")
        first = _index(first_text, part)
        end = _index(end_text, part) if hyphen else first
        if first <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        if hyphen and end <= first:
            raise ValueError(f"non-increasing order, previous: {first}, current: {end}")
        found.update(range(first, min(end + 1, below)))
        last = end
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """Indexes in order; three or more in a row become a range (upstream's form)."""
    parts: list[str] = []
    first = last = -1
    for index in [*sorted(indexes), -1]:
        if first >= 0 and index == last + 1:
            last = index
            continue
        if first >= 0:
            parts.append(str(first) if first == last else _pair(first, last))
        first = last = index
    return ",".join(parts)


def _pair(first: int, last: int) -> str:
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def _index(text: str, part: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'cannot convert string to integer for index: "{text or part}"')
    return int(text)
