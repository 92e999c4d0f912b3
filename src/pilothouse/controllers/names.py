"""Names the controllers give: random suffixes, and hashes that are safe in names and labels."""

from __future__ import annotations

import hashlib
import secrets

import orjson

from pilothouse.machinery.objects import Obj

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, so that no words come out (as in apimachinery's rand)."""


def random_suffix(length: int = 5) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def hash_of(tree: Obj, salt: str = "", length: int = 10) -> str:
    """A short name for a JSON tree: equal trees, equal names; unset and null fields count as equal."""
    data = orjson.dumps(prune(tree), option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(data + salt.encode()).digest()[:16], "big")
    text = ""
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        text += _ALPHABET[index]
    return text


def prune(tree: object) -> object:
    """The tree without nulls, empty maps and empty lists inside maps: two spellings of the same object become equal."""
    if isinstance(tree, dict):
        pruned = {key: prune(value) for key, value in tree.items()}
        return {key: value for key, value in pruned.items() if value is not None and value not in ({}, [])}
    if isinstance(tree, list):
        return [prune(value) for value in tree]
    return tree
