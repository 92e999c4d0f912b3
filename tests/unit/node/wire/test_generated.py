"""The committed modules are what `scripts/protos` writes from the .proto files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
WIRE = Path("src/pilothouse/node/wire")


def test_generated_modules_are_up_to_date(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run([ROOT / "scripts/protos", tmp_path], check=True, env=environment, timeout=60)
    fresh = {path.name: path.read_text() for path in (tmp_path / "pilothouse/node/wire").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / WIRE).glob("*_pb2.py*")}
    assert sorted(fresh) == sorted(committed)
    for name, text in fresh.items():
        assert committed[name] == text, f"{name} is stale: run scripts/protos"
