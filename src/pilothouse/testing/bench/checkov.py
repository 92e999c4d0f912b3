"""checkov in a virtual environment of its own, for as long as it is measured beside."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

VERSION: Final = "3.3.30"
_INSTALLING_SECONDS: Final = 600.0


class Installed(NamedTuple):
    """The command that checks a folder, empty where it could not be installed; `note` says which it is, or why not."""

    command: tuple[str, ...]
    note: str


@contextmanager
def checkov() -> Iterator[Installed]:
    """Installs it from the package index, and takes it away again."""
    with tempfile.TemporaryDirectory(prefix="ph-bench-checkov-") as folder:
        venv.create(folder, with_pip=False)
        python = Path(folder) / "bin" / "python"
        uv = Path(sys.executable).parent / "uv"
        install = [str(uv), "pip", "install", "-q", "--python", str(python), f"checkov=={VERSION}"]
        try:
            subprocess.run(install, check=True, capture_output=True, timeout=_INSTALLING_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            why = " ".join(said.decode(errors="replace").split())[-200:] or str(error)
            yield Installed((), f"checkov {VERSION} could not be installed: {why}")
            return
        program = str(Path(folder) / "bin" / "checkov")
        options = ("--framework", "kubernetes", "--quiet", "--compact", "--skip-download", "-d")
        yield Installed((program, *options), f"checkov {VERSION}")
