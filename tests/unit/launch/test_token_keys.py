import datetime as dt
import stat
from pathlib import Path

import pytest

from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.launch.pki import PkiError
from pilothouse.launch.token_keys import LIFETIME, TokenKeyFile

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
FIRST = key_pem(new_key())


def opened(directory: Path, now: dt.datetime = NOW) -> TokenKeyFile:
    return TokenKeyFile.open(directory, FIRST, now)


def claims(end: dt.datetime) -> dict[str, int]:
    return {"exp": int(end.timestamp())}


def ids(file: TokenKeyFile) -> list[str]:
    return [key["kid"] for key in file.keys.published()]


def test_a_key_is_published_before_it_signs_and_known_after(tmp_path: Path) -> None:
    file = opened(tmp_path)
    signs, follows = ids(file)
    token = file.keys.sign(claims(NOW + LIFETIME))
    assert file.rotate(NOW + LIFETIME) == follows
    assert ids(file)[0] == follows
    assert signs in ids(file)
    assert len(ids(file)) == 3
    assert file.keys.verify(token) == claims(NOW + LIFETIME)
    assert file.due() == NOW + 2 * LIFETIME


def test_another_process_knows_the_same_keys(tmp_path: Path) -> None:
    file = opened(tmp_path)
    token = file.keys.sign(claims(NOW + dt.timedelta(days=1000)))
    file.rotate(NOW)
    again = opened(tmp_path, NOW + LIFETIME)
    assert ids(again) == ids(file)
    assert again.due() == file.due()
    assert again.keys.verify(token)
    assert stat.S_IMODE((tmp_path / "token-keys.json").stat().st_mode) == 0o600


def test_a_key_is_forgotten_when_its_last_token_has_ended_and_not_before(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.rotate(NOW)
    signs = ids(file)[0]
    end = NOW + dt.timedelta(days=500)
    token = file.keys.sign(claims(end))
    file.keys.sign(claims(NOW + dt.timedelta(hours=1)))
    # As after a kill: what is known of the tokens is what was written before they were handed out.
    file = opened(tmp_path)
    file.rotate(NOW + dt.timedelta(days=1))
    file.rotate(end - dt.timedelta(seconds=1))
    assert file.keys.verify(token)
    file.rotate(end + dt.timedelta(days=1))
    assert signs not in ids(file)
    with pytest.raises(BadToken, match="another key"):
        file.keys.verify(token)


def test_keys_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "token-keys.json").write_text("{}")
    with pytest.raises(PkiError, match=r"token-keys\.json"):
        opened(tmp_path)
    (tmp_path / "token-keys.json").write_text('{"signs": {"pem": "a"}, "follows": {"pem": "b"}}')
    with pytest.raises(PkiError, match=r"token-keys\.json"):
        opened(tmp_path)
