"""The keys that sign service account tokens, in D/pki/token-keys.json: the one that signs, the one that is to follow
it, and those that have signed tokens which may still be good.

They rotate by age while everything runs. The file is written before a key signs anything, and again before a token is
handed out that ends later than every one before it on that key (rounded up to a day, so that is rare): a key is never
forgotten while a token of it is good, whenever the process ends.
"""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import msgspec

from pilothouse.apiserver.authentication.jose import SigningKey
from pilothouse.apiserver.authentication.token_keys import TokenKeys
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.launch.pki import PkiError, write_private

LIFETIME = dt.timedelta(days=90)
"""How long a key signs."""
_DAY = 86_400
log = logging.getLogger(__name__)


class _Key(msgspec.Struct):
    """A private key (PEM), since when it signs (RFC 3339, "" if it does not yet), and when the last of its tokens ends
    (seconds since 1970)."""

    pem: str
    since: str = ""
    until: int = 0


class _File(msgspec.Struct):
    signs: _Key
    follows: _Key
    signed: list[_Key] = []


class TokenKeyFile:
    """The keys of a data directory. `keys` is what the API server is given."""

    def __init__(self, path: Path, held: _File) -> None:
        self._path = path
        self._held = held
        try:
            self.keys = TokenKeys(_signing(held.signs), self._others(), self._note)
        except ValueError as error:
            raise PkiError(f"{path} holds a key that cannot be used ({error}): restore it from a backup") from error

    @classmethod
    def open(cls, directory: Path, first: bytes, now: dt.datetime) -> TokenKeyFile:
        """Reads the file in D/pki; makes it, with `first` (PEM) as the key that signs, where there is none. Raises
        PkiError."""
        path = directory / "token-keys.json"
        try:
            held = msgspec.json.decode(path.read_bytes(), type=_File)
        except FileNotFoundError:
            # Tokens that the first key signed before there was this file: an hour, unless somebody asked for more.
            year = int((now + dt.timedelta(days=365)).timestamp())
            held = _File(_Key(first.decode(), now.isoformat(), year), _new())
            write_private(path, msgspec.json.encode(held))
        except msgspec.DecodeError as error:
            raise PkiError(f"{path} cannot be read ({error}): restore it from a backup") from error
        return cls(path, held)

    def due(self) -> dt.datetime:
        """When the keys are to rotate next."""
        return dt.datetime.fromisoformat(self._held.signs.since) + LIFETIME

    def rotate(self, now: dt.datetime) -> str:
        """The next key signs from now on, another one is to follow, and those whose tokens have all ended are
        forgotten. Returns the identifier of the key that signs."""
        held = self._held
        signed = [key for key in (held.signs, *held.signed) if key.until > now.timestamp()]
        follows = _Key(held.follows.pem, now.isoformat())
        self._held = _File(follows, _new(), signed)
        self._save()
        signer = _signing(follows)
        self.keys.exchange(signer, self._others())
        return signer.key_id

    def _others(self) -> list[SigningKey]:
        return [_signing(key) for key in (self._held.follows, *self._held.signed)]

    def _note(self, end: int) -> None:
        """A token is about to be signed that ends then."""
        if end > self._held.signs.until:
            self._held.signs.until = -(-end // _DAY) * _DAY
            self._save()

    def _save(self) -> None:
        write_private(self._path, msgspec.json.encode(self._held))


def _new() -> _Key:
    return _Key(key_pem(new_key()).decode())


def _signing(key: _Key) -> SigningKey:
    return SigningKey(key.pem.encode())
