"""How bad a flaw is: the distribution's own word first, then CVSS, then the word of whoever reported it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

RATINGS: Final = ("negligible", "low", "unknown", "medium", "high", "critical")
"""In order. A flaw nobody rated stands between low and medium: it may be anything."""

_WORDS: Final = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "moderate": "medium",
    "medium": "medium",
    "low": "low",
    "minor": "low",
    "negligible": "negligible",
    "unimportant": "negligible",
    "none": "negligible",
}
_DISTRIBUTIONS: Final = ("Ubuntu", "urgency", "impact")


def rating(package: Iterable[tuple[str, str]], advisory: Iterable[tuple[str, str]]) -> tuple[str, float, str]:
    """Rating, CVSS base score (0 when there is none) and vector, from pairs of type and score."""
    own, common = list(package), list(advisory)
    score, vector = best_score([*own, *common])
    for kind, text in (*own, *common):
        word = _WORDS.get(text.lower())  # urgencies such as `high**` are derived, and not the distribution's own
        if kind in _DISTRIBUTIONS and word:
            return word, score, vector
    if vector and not vector.startswith("AV:"):
        return rating_of_score(score), score, vector
    for kind, text in (*own, *common):
        if kind in ("word", *_DISTRIBUTIONS) and text.lower().rstrip("*") in _WORDS:
            return _WORDS[text.lower().rstrip("*")], score, vector
    return (rating_of_score(score) if vector else "unknown"), score, vector


def best_score(pairs: Iterable[tuple[str, str]]) -> tuple[float, str]:
    """The highest base score of version 3 and 4 vectors and its vector; of version 2 when there is no other."""
    newer, older = (-1.0, ""), (-1.0, "")
    for kind, vector in pairs:
        if kind in ("CVSS_V3", "CVSS_V4", "CVSS_V2"):
            score = cvss_score(vector)
            if score is None:
                continue
            if kind == "CVSS_V2":
                older = max(older, (score, vector))
            else:
                newer = max(newer, (score, vector))
    score, vector = newer if newer[1] else older
    return (score, vector) if vector else (0.0, "")


@lru_cache(maxsize=8192)
def cvss_score(vector: str) -> float | None:
    """The base score of a CVSS vector, or None when it is not one."""
    from cvss import CVSS2, CVSS3, CVSS4  # late: 45 ms, and many scans find nothing
    from cvss.exceptions import CVSSError

    try:
        if vector.startswith("CVSS:4"):
            return float(CVSS4(vector).base_score)
        if vector.startswith("CVSS:3"):
            return float(CVSS3(vector).base_score)
        return float(CVSS2(vector.strip("()")).base_score)
    except (CVSSError, ValueError, ArithmeticError):
        return None


def rating_of_score(score: float) -> str:
    """Source: CVSS 3.1 specification, "Qualitative Severity Rating Scale"."""
    for floor, word in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low")):
        if score >= floor:
            return word
    return "negligible"
