"""Sealing: values of some collections are encrypted in the file, so that the file alone does not tell them.

AES-256-GCM under one of a ring of keys; the value's own key in the store is authenticated with it, so that a sealed
value moved to another object does not open. A sealed value is `\\0ph1`, the 4 bytes that name its key, a 12-byte nonce,
and ciphertext with tag; a JSON document never begins with a zero byte. Where keys are kept: `launch/encryption.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pilothouse.store.store import collection_of

KEY_BYTES = 32
SEALED_COLLECTIONS = frozenset({"core/secrets/"})
_MAGIC = b"\0ph1"
_NONCE = 12


class SealError(Exception):
    """A sealed value cannot be opened; the message says why."""


class Sealer:
    """Seals with the first of `keys` (32 bytes each) and opens with any. Raises ValueError without a key."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("a sealer needs a key")
        self._ring = {key_id(key): AESGCM(key) for key in keys}
        self._id = key_id(keys[0])

    def is_due(self, key: str, stored: bytes) -> bool:
        """Whether a stored value should be sealed, and is not, or not under the first key."""
        return collection_of(key) in SEALED_COLLECTIONS and not stored.startswith(_MAGIC + self._id)

    def seal(self, key: str, value: bytes) -> bytes:
        """The value as it is to be stored under `key`: as it is, outside the sealed collections."""
        if collection_of(key) not in SEALED_COLLECTIONS:
            return value
        nonce = os.urandom(_NONCE)
        return _MAGIC + self._id + nonce + self._ring[self._id].encrypt(nonce, value, key.encode())

    def open(self, key: str, stored: bytes) -> bytes:
        """The value behind a stored one. Raises SealError."""
        if not is_sealed(stored):
            return stored
        start = len(_MAGIC) + len(self._id)
        cipher = self._ring.get(stored[len(_MAGIC) : start])
        if cipher is None:
            raise SealError(
                f"{key} is sealed with key {stored[len(_MAGIC) : start].hex()}, which is not among the keys"
            )
        try:
            return cipher.decrypt(stored[start : start + _NONCE], stored[start + _NONCE :], key.encode())
        except InvalidTag as error:
            raise SealError(f"{key} does not open: it was changed outside the engine") from error


def is_sealed(stored: bytes) -> bool:
    """Whether a stored value is ciphertext."""
    return stored.startswith(_MAGIC)


def key_id(key: bytes) -> bytes:
    """The four bytes that name a key without telling it."""
    return hashlib.sha256(b"pilothouse key id\0" + key).digest()[:4]
