"""Runs the stock kubectl in tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path


class Kubectl:
    """Runs kubectl against one server."""

    def __init__(self, program: Path, config: Path, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._program = program
        self._environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(home), **(environment or {})}

    async def start(self, *arguments: str, terminal: int | None = None) -> asyncio.subprocess.Process:
        """A running kubectl with its input and output in pipes, or at a terminal."""
        return await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE if terminal is None else terminal,
            stdout=asyncio.subprocess.PIPE if terminal is None else terminal,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )

    async def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """What it prints; its errors instead when it is meant to fail."""
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            output, errors = await process.communicate(stdin.encode())
        assert (process.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {output!r} {errors!r}"
        return (errors if fails else output).decode()
