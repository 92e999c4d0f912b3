"""What the engine tells of the base of an image that runs."""

from __future__ import annotations

import datetime as dt

import pytest

from pilothouse.guard.finding import Ref
from pilothouse.guard.images.live.reports import OLD_BASE, Scanned, report_of
from pilothouse.guard.images.live.uses import Use
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.model import BaseImage, Inventory, Layer

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()
OPEN = Flaw("CVE-1", ("CVE-1",), "deb", "openssl", "1", layers=(0,), severity="high")
FIXED = Flaw("CVE-2", ("CVE-2",), "deb", "zlib", "1", layers=(0,), severity="high", fixed="2")
ABOVE = Flaw("CVE-3", ("CVE-3",), "pypi", "flask", "1", layers=(1,), severity="high", fixed="2")


@pytest.mark.parametrize(
    ("made", "flaws", "message"),
    [
        ("2026-10-20T00:00:00Z", (OPEN, ABOVE), ""),
        ("2026-10-20T00:00:00Z", (OPEN, FIXED), "; 2 flaws from it, 1 with a fix"),
        ("2026-05-01T00:00:00Z", (), ""),
        ("2026-05-01T00:00:00Z", (OPEN,), "; 1 flaw from it, 0 with a fix"),
    ],
)
def test_a_base_that_a_newer_one_would_mend(made: str, flaws: tuple[Flaw, ...], message: str) -> None:
    layers = (Layer("sha256:a", created=made), Layer("sha256:b"))
    inventory = Inventory("shop", "image", "sha256:i", layers=layers, base=BaseImage("debian:12", "sha256:d", 1))
    use = Use(Ref("apps/v1", "Deployment", "shop", "web"), "c", {"sha256:i": ["web-1"]})
    report = report_of(use, {"sha256:i": Scanned(inventory, flaws)}, 1, now=NOW)
    told = [found for found in report.found if found.finding.check is OLD_BASE]
    if made.startswith("2026-10") and not message:
        assert told == []
        return
    (found,) = told
    assert found.finding.message == f"is built on debian:12, made {made[:10]}{message}"
    assert {key: found.evidence[key] for key in ("base", "base-digest", "base-created", "pods")} == {
        "base": "debian:12",
        "base-digest": "sha256:d",
        "base-created": made[:10],
        "pods": "web-1",
    }
