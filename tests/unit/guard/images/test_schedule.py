"""The timer of updates: by a clock that is turned by hand, real update processes and a mirror on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.live import schedule
from pilothouse.guard.images.live.schedule import Schedule, update_on_schedule, write_schedule
from pilothouse.guard.images.places import data_file

HOUR = 3600.0
KEV = "/known_exploited_vulnerabilities.json"


class Mirror:
    """Serves the list of exploited vulnerabilities, and counts how often it is asked for."""

    def __init__(self) -> None:
        self.body = b""
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.endswith(KEV):
                    self.send_error(404)
                    return
                outer.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/vulndb/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    running = Mirror()
    yield running
    running.close()


class Ended(Exception):
    """The hour has come."""


class Clock:
    """Goes on only when the timer waits, and ends it at a time."""

    def __init__(self) -> None:
        self.time = 1e9
        self.factor = 1.0
        self._end = 0.0
        self._pending: dict[float, Callable[[], None]] = {}

    async def pause(self, seconds: float) -> None:
        self.time += seconds
        for due in [due for due in self._pending if due <= self.time]:
            self._pending.pop(due)()
        if self.time >= self._end:
            raise Ended

    async def run(self, folder: Path, hours: float, events: dict[float, Callable[[], None]] | None = None) -> None:
        """Lets the timer run for so many hours from its start; events are by hour."""
        self._end = self.time + hours * HOUR
        self._pending = {self.time + hour * HOUR: event for hour, event in (events or {}).items()}
        with pytest.raises(Ended):
            await update_on_schedule(folder, now=lambda: self.time, pause=self.pause, jitter=lambda: self.factor)


def listed(*names: str) -> bytes:
    entries = [{"cveID": name, "dateAdded": "2024-01-01", "knownRansomwareCampaignUse": "Unknown"} for name in names]
    return json.dumps({"title": "CISA Catalog", "catalogVersion": "1", "vulnerabilities": entries}).encode()


def exploited(folder: Path) -> int:
    base = Base(data_file(folder))
    (feed,) = [feed for feed in base.feeds() if feed.records]
    base.close()
    return feed.records


async def test_the_timer_keeps_data_up_to_date_with_jitter_and_across_restarts(tmp_path: Path, mirror: Mirror) -> None:
    clock = Clock()
    mirror.body = listed("CVE-1")
    await clock.run(tmp_path, 1)
    assert mirror.asked == 0, "nobody asked for updates"
    write_schedule(tmp_path, Schedule(12.0, mirror.url))
    await clock.run(tmp_path, 1)
    assert (mirror.asked, exploited(tmp_path)) == (1, 1)
    mirror.body = listed("CVE-1", "CVE-2")
    clock.factor = 0.9
    await clock.run(tmp_path, 9.5)
    assert mirror.asked == 1
    await clock.run(tmp_path, 1)
    assert (mirror.asked, exploited(tmp_path)) == (2, 2), "after 0.9 of the time"
    clock.factor = 1.1
    await clock.run(tmp_path, 12)
    assert mirror.asked == 2
    write_schedule(tmp_path, None)
    await clock.run(tmp_path, 48)
    assert mirror.asked == 2


async def test_an_update_that_fails_keeps_the_last_good_data_and_is_tried_again_within_the_hour(
    tmp_path: Path, mirror: Mirror
) -> None:
    clock = Clock()
    write_schedule(tmp_path, Schedule(12.0, mirror.url))
    mirror.body = listed("CVE-1", "CVE-2")
    good = listed("CVE-1", "CVE-2", "CVE-3")
    after_failure = []

    def breaks() -> None:
        mirror.body = good[:-20]

    def mended() -> None:
        base = Base(data_file(tmp_path))
        after_failure.extend([exploited(tmp_path), *(feed.error for feed in base.feeds() if feed.error)])
        base.close()
        mirror.body = good

    await clock.run(tmp_path, 14, {11.5: breaks, 12.5: mended})
    assert after_failure[0] == 2
    assert len(after_failure) == 2, "the feed says what went wrong"
    assert (mirror.asked, exploited(tmp_path)) == (3, 3)


def test_jitter_is_a_tenth() -> None:
    factors = {schedule.jitter() for _ in range(100)}
    assert len(factors) > 1
    assert all(0.9 <= factor <= 1.1 for factor in factors)
