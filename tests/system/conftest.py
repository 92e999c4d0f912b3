"""Stock clients for every system test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import tools


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """kubectl 1.35."""
    return tools().kubectl


@pytest.fixture(scope="session")
def helm() -> Path:
    """helm 4."""
    return tools().helm
