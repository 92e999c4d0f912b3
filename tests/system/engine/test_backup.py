"""A backup made while the engine runs, restored where everything was lost; Secrets sealed, and under a new key."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from machine import Machine, until

pytestmark = pytest.mark.system

WORD = "a-word-nobody-else-writes"


@pytest.fixture
def passphrase(machine: Machine) -> Path:
    path = machine.root / "passphrase"
    path.write_text("keel, mast and rudder\n")
    return path


def told(engine: Machine) -> str:
    return base64.b64decode(engine.get("secret", "word")["data"]["word"]).decode()


def in_the_database(engine: Machine, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in engine.data_dir.glob("state.db*"))


def test_secrets_are_sealed_and_sealed_anew(engine: Machine) -> None:
    engine.kubectl("create", "secret", "generic", "word", f"--from-literal=word={WORD}")
    engine.kubectl("create", "configmap", "word", "--from-literal=word=plainly-there")
    assert in_the_database(engine, "plainly-there")
    encoded = base64.b64encode(WORD.encode()).decode()
    assert not in_the_database(engine, encoded)
    before = json.loads(engine.pilothouse("encryption", "status", "-o", "json"))
    assert "old key is forgotten" in engine.pilothouse("encryption", "rotate")
    after = json.loads(engine.pilothouse("encryption", "status", "-o", "json"))
    assert [len(before["keys"]), len(after["keys"])] == [1, 1]
    assert before["keys"][0]["id"] != after["keys"][0]["id"]
    until(lambda: told(engine) == WORD, "the Secret is read as before")
    assert not in_the_database(engine, encoded)


def test_only_masters_get_a_snapshot(engine: Machine) -> None:
    said = engine.kubectl("get", "--raw", "/pilothouse/snapshots/state.db", "--as", "someone", code=1)
    assert "forbidden" in said.lower()


def test_a_backup_comes_back_on_an_empty_machine(engine: Machine, passphrase: Path) -> None:
    words = ("--passphrase-file", str(passphrase))
    file = engine.root / "backup.age"
    version = int(engine.get("secret", "word")["metadata"]["resourceVersion"])
    assert str(file) in engine.pilothouse("backup", str(file), *words)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "not empty" in engine.pilothouse("restore", str(file), *words, code=1)
    old = engine.kubeconfig.read_text()
    engine.pilothouse("down", "--purge")
    said = engine.pilothouse("restore", str(file), *words)
    assert "pilothouse up --background" in said
    assert {path.name for path in engine.data_dir.glob("*.db")} == {"state.db", "findings.db"}
    engine.up()
    engine.wait_ready()
    assert told(engine) == WORD
    # The authority is the same, so what people hold goes on working, and no revision comes again.
    kept = engine.root / "old.kubeconfig"
    kept.write_text(old)
    assert engine.name in engine.kubectl("--kubeconfig", str(kept), "get", "nodes", "-o", "name")
    engine.kubectl("create", "configmap", "after")
    assert int(engine.get("configmap", "after")["metadata"]["resourceVersion"]) > version + 1_000_000
