"""The images of all tests, built from Debian packages once for each version of their recipes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import REGISTRY

from pilothouse.launch.listeners import listen_tcp
from pilothouse.testing.images import ImageError, Recipe, build, push

_EXAMPLE = Path(__file__).parents[3] / "examples" / "shop"


@dataclass(frozen=True)
class Images:
    """A registry's storage, and what is in it."""

    storage: Path
    shop: Path
    """The example's manifests, with the images named by digest."""
    tools: str
    """A busybox whose shell runs its applets; as uid 10001."""


def built_images() -> Images:
    """The images from the cache, or built now."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilothouse-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"images-{_recipes_digest()}"
    if not root.exists():
        fresh = Path(tempfile.mkdtemp(dir=cache))
        _build(fresh)
        for older in cache.glob("images-*"):
            shutil.rmtree(older)
        fresh.rename(root)
    return Images(root / "storage", root / "shop", (root / "tools").read_text())


def _recipes_digest() -> str:
    """Changes with everything that goes into the images and manifests, the packages' versions excepted."""
    sources = [p for p in _EXAMPLE.rglob("*") if p.is_file() and p.suffix in (".py", ".yaml")]
    parts = [path.read_bytes() for path in sorted([*sources, Path(build.__code__.co_filename), Path(__file__)])]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build(root: Path) -> None:
    out = root / "shop"
    with _registry_on_host(root) as registry:
        command = [sys.executable, str(_EXAMPLE / "build.py"), registry, str(out)]
        subprocess.run(command, check=True, capture_output=True)
        busybox = Path("/bin/busybox").read_bytes()
        programs = {f"usr/bin/{name}": busybox for name in ("busybox", "sh", "tar")}
        tools = _push_when_up(Recipe(executables=programs, entrypoint=["/usr/bin/sh"]), registry)
    for manifest in out.glob("*.yaml"):
        manifest.write_text(manifest.read_text().replace(registry, REGISTRY))
    (root / "tools").write_text(tools.replace(registry, REGISTRY))


@contextmanager
def _registry_on_host(root: Path) -> Iterator[str]:
    """A registry on the host's loopback, where apt has a way to its sources."""
    probe = listen_tcp("127.0.0.1", 0)
    address = f"127.0.0.1:{probe.getsockname()[1]}"
    probe.close()
    settings = root / "registry.yml"
    settings.write_text(
        f'version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\nhttp: {{addr: "{address}"}}\n'
        f"storage: {{filesystem: {{rootdirectory: {root / 'storage'}}}}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL)
    try:
        _push_when_up(Recipe(files={"empty": b""}), address)
        yield address
    finally:
        process.kill()
        process.wait()


def _push_when_up(recipe: Recipe, registry: str) -> str:
    image = build(recipe)
    deadline = time.monotonic() + 20
    while True:
        try:
            return push(image, registry, "test/tools", "1")
        except ImageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
