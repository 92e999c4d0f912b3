"""The keys that seal Secrets: made once, kept, rotated without a moment in which one is missing."""

from pathlib import Path

import pytest

from pilothouse.launch.encryption import FILE, KeyRing, KeyRingError


def test_a_ring_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    made = KeyRing.open(tmp_path / "pki")
    assert KeyRing.open(tmp_path / "pki").keys == made.keys
    assert (tmp_path / "pki" / FILE).stat().st_mode & 0o777 == 0o600


def test_rotation_keeps_the_old_key_until_it_is_forgotten(tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path)
    sealed = ring.sealer().seal("core/secrets/a/b", b"{}")
    old = ring.keys[0]
    new = ring.add()
    again = KeyRing.open(tmp_path)
    assert again.keys == [new, old]
    assert again.sealer().open("core/secrets/a/b", sealed) == b"{}"
    assert again.forget_old() == [old]
    assert KeyRing.open(tmp_path).keys == [new]
    assert again.forget_old() == []


@pytest.mark.parametrize("text", ["", "{", '{"keys": []}', '{"keys": [{"key": "AAAA", "created": ""}]}'])
def test_a_broken_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(KeyRingError, match="restore it from a backup"):
        KeyRing.open(tmp_path)
    assert (tmp_path / FILE).read_text() == text
