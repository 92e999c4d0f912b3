"""Debian's docker-registry on loopback, for tests."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilothouse.launch.listeners import listen_tcp

_START_SECONDS = 30.0


@contextmanager
def registry_on_loopback(folder: Path) -> Iterator[str]:
    """Runs one with its images in `folder/storage`; yields its address, HOST:PORT. Raises TimeoutError."""
    probe = listen_tcp("127.0.0.1", 0)
    address = f"127.0.0.1:{probe.getsockname()[1]}"
    probe.close()
    settings = folder / "registry.yml"
    settings.write_text(
        f'version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\nhttp: {{addr: "{address}"}}\n'
        f"storage: {{filesystem: {{rootdirectory: {folder / 'storage'}}}}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL)
    try:
        _await(address)
        yield address
    finally:
        process.kill()
        process.wait()


def _await(address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"docker-registry does not answer at {address}") from error
            time.sleep(0.05)
        finally:
            connection.close()
