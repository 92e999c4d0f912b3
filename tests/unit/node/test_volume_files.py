"""Files of volumes: what is in them, and that they change at once."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import KeyToPath
from pilothouse.node.volumes import atomic
from pilothouse.node.volumes.payload import File, VolumeError, config_map_files


def seen(directory: Path) -> dict[str, str]:
    """What a reader finds, hidden names left out."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and not str(path.relative_to(directory)).startswith("..")
    }


def test_files_change_at_once_and_old_ones_go(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, {"a": File(b"1", 0o644), "dir/b": File(b"2", 0o600)})
    before = (tmp_path / "..data").resolve()
    assert (tmp_path / "a").read_text() == "1"
    assert (tmp_path / "dir" / "b").stat().st_mode & 0o777 == 0o600
    assert not atomic.write(tmp_path, {"a": File(b"1", 0o644), "dir/b": File(b"2", 0o600)})
    assert atomic.write(tmp_path, {"a": File(b"3", 0o644)})
    assert not before.exists()
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]
    assert (tmp_path / "a").read_text() == "3"


def test_an_empty_payload_makes_an_empty_directory(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, {})
    assert not atomic.write(tmp_path, {})
    assert seen(tmp_path) == {}


def test_config_map_keys_become_files() -> None:
    config_map = ConfigMap(data={"a": "x"}, binary_data={"b": base64.b64encode(b"\xff").decode()})
    assert config_map_files("cm", config_map, [], None, False) == {"a": File(b"x", 0o644), "b": File(b"\xff", 0o644)}
    item = KeyToPath(key="a", path="deep/er", mode=0o400)
    assert config_map_files("cm", config_map, [item], 0o600, False) == {"deep/er": File(b"x", 0o400)}


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b"])
def test_paths_stay_in_the_volume(path: str) -> None:
    with pytest.raises(VolumeError, match="must be relative"):
        config_map_files("cm", ConfigMap(data={"a": "x"}), [KeyToPath(key="a", path=path)], None, False)


def test_what_is_missing_is_named_unless_optional() -> None:
    with pytest.raises(VolumeError, match='configmap "cm" not found'):
        config_map_files("cm", None, [], None, False)
    with pytest.raises(VolumeError, match="non-existent config key: k"):
        config_map_files("cm", ConfigMap(), [KeyToPath(key="k", path="p")], None, False)
    assert config_map_files("cm", None, [], None, True) == {}
