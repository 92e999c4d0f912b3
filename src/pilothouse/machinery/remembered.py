"""What was made of a tree, kept for the next one that is the same: a workload's pods are one but for their names."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Generic, TypeVar

import orjson

T = TypeVar("T")


class Remembered(Generic[T]):
    """The `most` answers that were last asked for, by fingerprint. Who is given one may not change it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def get(self, key: bytes) -> T | None:
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def put(self, key: bytes, answer: T) -> None:
        self._known[key] = answer
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def fingerprint(*trees: Any) -> bytes:
    """16 bytes that no other trees have; the order of fields counts. Raises orjson.JSONEncodeError."""
    return hashlib.blake2b(orjson.dumps(trees, option=orjson.OPT_NON_STR_KEYS), digest_size=16).digest()
