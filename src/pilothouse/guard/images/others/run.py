"""Another scanner asked about a target, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pilothouse.guard.images.inventory.sbom import is_sbom
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.others.entries import RiskOf
from pilothouse.guard.images.others.report import result_in
from pilothouse.guard.images.source.archive import is_layout

_SECONDS: Final = 1800.0
_SHOWN: Final = 300


def _trivy(target: str, kind: str) -> list[str]:
    words = {
        "image": ["image", target],
        "archive": ["image", "--input", target],
        "sbom": ["sbom", target],
        "folder": ["filesystem", target],
    }
    return [words[kind][0], "--format", "json", "--quiet", "--list-all-pkgs", *words[kind][1:]]


def _grype(target: str, kind: str) -> list[str]:
    schemes = {"image": "registry:", "archive": "", "sbom": "sbom:", "folder": "dir:"}
    return [f"{schemes[kind]}{target}", "-o", "json", "-q"]


TOOLS: Final[Mapping[str, Callable[[str, str], list[str]]]] = {"trivy": _trivy, "grype": _grype}
"""The words of a command line, by target and its kind."""


def installed(tool: str) -> bool:
    """Whether it is on PATH."""
    return shutil.which(tool) is not None


def ask(tool: str, target: str, risk: RiskOf) -> Result:
    """What an installed scanner says of a target. Raises NotReadable, OSError."""
    command = [tool, *TOOLS[tool](target, _kind(target))]
    with tempfile.TemporaryDirectory(prefix="pilothouse-") as folder:
        out = Path(folder, "report.json")
        with out.open("wb") as file:
            try:
                ended = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, timeout=_SECONDS
                )
            except subprocess.TimeoutExpired as error:
                raise NotReadable(f"{tool} took longer than {_SECONDS / 60:.0f} min over {target}") from error
        if ended.returncode:
            said = " ".join(ended.stderr.decode("utf-8", "replace").split())[-_SHOWN:]
            raise NotReadable(f"{tool} failed on {target} (exit code {ended.returncode}): {said}")
        return result_in(out, risk)


def _kind(target: str) -> str:
    path = Path(target)
    if path.is_dir() and not is_layout(path):
        return "folder"
    if path.is_file() and is_sbom(path):
        return "sbom"
    return "archive" if path.exists() else "image"
