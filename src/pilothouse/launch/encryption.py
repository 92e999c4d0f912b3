"""The keys that seal Secrets in the database: D/pki/encryption.json, the newest first, readable by root.

What it stops: a copy of the database alone (in a support bundle, on a disk where a snapshot was left, in the hands of a
process that may read the one file) does not tell Secrets. Whoever reads D/pki too, or asks the API, is not stopped.

Rotation is safe at any moment: a new key is put first and the old ones stay; the next start of the store seals all
values under the first key; only then the old ones are forgotten.
"""

from __future__ import annotations

import base64
import datetime as dt
import secrets
from pathlib import Path

import msgspec

from pilothouse.launch.pki import write_private
from pilothouse.store.sealing import KEY_BYTES, Sealer, key_id

FILE = "encryption.json"


class KeyRingError(Exception):
    """The file of keys cannot be used; the message says what to do."""


class Key(msgspec.Struct, frozen=True):
    """One key: 32 bytes in base64, and when it was made (RFC 3339)."""

    key: str
    created: str

    @property
    def secret(self) -> bytes:
        return base64.b64decode(self.key)

    @property
    def id(self) -> str:
        """What names it in messages."""
        return key_id(self.secret).hex()


class _File(msgspec.Struct):
    keys: list[Key]


class KeyRing:
    """The keys of a data directory; the first seals."""

    def __init__(self, path: Path, keys: list[Key]) -> None:
        self._path = path
        self.keys = keys

    @classmethod
    def open(cls, directory: Path) -> KeyRing:
        """Reads `directory`/encryption.json; makes it where there is none. Raises KeyRingError.

        Where it was lost, new keys are made, and the store refuses by name what is sealed under the old ones.
        """
        path = directory / FILE
        try:
            ring = cls(path, msgspec.json.decode(path.read_bytes(), type=_File).keys)
        except FileNotFoundError:
            ring = cls(path, [_new_key()])
            ring._save()
            return ring
        except msgspec.DecodeError as error:
            raise KeyRingError(f"{path} cannot be read ({error}): restore it from a backup") from error
        try:
            ring.sealer()
        except ValueError as error:
            raise KeyRingError(f"{path} holds no usable key ({error}): restore it from a backup") from error
        return ring

    def sealer(self) -> Sealer:
        """Seals with the first key. Raises ValueError when there is none, or one of a wrong length."""
        found = [key.secret for key in self.keys]
        if any(len(key) != KEY_BYTES for key in found):
            raise ValueError(f"a key is not of {KEY_BYTES} bytes")
        return Sealer(found)

    def add(self) -> Key:
        """A new first key, durable before this returns."""
        self.keys.insert(0, _new_key())
        self._save()
        return self.keys[0]

    def forget_old(self) -> list[Key]:
        """Drops all keys but the first: nothing is sealed under them any more. The dropped ones."""
        gone = self.keys[1:]
        if gone:
            del self.keys[1:]
            self._save()
        return gone

    def _save(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, msgspec.json.format(msgspec.json.encode(_File(self.keys)), indent=2) + b"\n")


def _new_key() -> Key:
    return Key(
        base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode(), dt.datetime.now(dt.UTC).isoformat("T", "seconds")
    )
