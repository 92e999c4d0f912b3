"""Lines of a container's log file as CRI runtimes write them, and which of them were asked for. Pure.

A line is `TIME STREAM TAG TEXT`: an RFC 3339 time with nanoseconds, stdout or stderr, F for a full line (or the end of
one) or P for a part, and the text. Source: the CRI logging format of upstream's `kubelet-cri-logging` proposal.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pilothouse.machinery.errors import Invalid

_STREAMS: dict[str, bytes | None] = {"": None, "All": None, "Stdout": b"stdout", "Stderr": b"stderr"}


class LogLine(NamedTuple):
    """One line of the file, without its line break."""

    time: bytes
    stream: bytes
    full: bool
    text: bytes


def parse(line: bytes) -> LogLine | None:
    """The parts of a line (given without its line break); None when it is not of the format."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    # A tag may carry more after a colon, which is reserved.
    return LogLine(parts[0], parts[1], parts[2].partition(b":")[0] == b"F", parts[3])


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a client asked for: PodLogOptions."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: float = 0.0
    """Seconds since the epoch; 0 for all."""
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: bytes | None = None
    """`stdout` or `stderr`, None for both."""


def options_of(query: Mapping[str, str], now: float) -> LogOptions:
    """Raises Invalid, naming what cannot be understood."""
    since = 0.0
    if query.get("sinceSeconds") and query.get("sinceTime"):
        raise Invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")
    seconds = _integer(query, "sinceSeconds", least=1)
    if seconds is not None:
        since = now - seconds
    if query.get("sinceTime"):
        since = _time(query["sinceTime"])
    if query.get("stream", "") not in _STREAMS:
        raise Invalid(f"stream: {query['stream']!r} is not one of All, Stdout, Stderr")
    stream = _STREAMS[query.get("stream", "")]
    tail = _integer(query, "tailLines", least=0)
    if stream is not None and tail is not None:
        raise Invalid("tailLines and a specific stream cannot be asked for together")
    return LogOptions(
        follow=_truth(query, "follow"),
        previous=_truth(query, "previous"),
        timestamps=_truth(query, "timestamps"),
        since=since,
        tail_lines=tail,
        limit_bytes=_integer(query, "limitBytes", least=1),
        stream=stream,
    )


def _truth(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "")
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("", "false", "0", "f"):
        return False
    raise Invalid(f"{name}: {value!r} is neither true nor false")


def _integer(query: Mapping[str, str], name: str, least: int) -> int | None:
    value = query.get(name, "")
    if not value:
        return None
    try:
        number = int(value)
    except ValueError:
        raise Invalid(f"{name}: {value!r} is not a whole number") from None
    if number < least:
        raise Invalid(f"{name}: {number} must be greater than or equal to {least}")
    return number


def _time(text: str) -> float:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"sinceTime: {text!r} is not an RFC 3339 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def since_prefix(since: float) -> bytes:
    """The moment as log times are written, so that lines can be compared as text."""
    whole = int(since)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)).encode() + b".%09dZ" % int((since - whole) * 1e9)


def is_before(moment: bytes, since: float, prefix: bytes) -> bool:
    """Whether a line's time is before `since`, of which `prefix` is the text."""
    if moment.endswith(b"Z") and len(moment) >= 20:
        # Compared without the Z, so that times with fewer digits of a second still sort rightly.
        return moment[:-1] < prefix[:-1]
    return _seconds(moment) < since


def _seconds(moment: bytes) -> float:
    """A time with an offset, as runtimes in a zone of their own write it."""
    try:
        return _time(moment.decode())
    except (Invalid, UnicodeDecodeError):
        return float(calendar.timegm((9999, 1, 1, 0, 0, 0)))


class LogFilter:
    """Turns lines of the file into what the client reads. Holds what is left of its byte limit."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._prefix = since_prefix(options.since)
        self._fresh = True
        self._left = options.limit_bytes
        self._since_open = options.since > 0

    @property
    def exhausted(self) -> bool:
        """The byte limit is reached."""
        return self._left is not None and self._left <= 0

    def feed(self, lines: list[bytes]) -> bytes:
        """The output for some lines of the file."""
        options, pieces = self._options, []
        for raw in lines:
            line = parse(raw)
            if line is None or (options.stream is not None and line.stream != options.stream):
                continue
            if self._since_open:
                if is_before(line.time, options.since, self._prefix):
                    continue
                # Times only grow, so the rest of the log is all later.
                self._since_open = False
            if options.timestamps and self._fresh:
                pieces.append(line.time + b" ")
            pieces.append(line.text)
            if line.full:
                pieces.append(b"\n")
            self._fresh = line.full
        output = b"".join(pieces)
        if self._left is not None:
            output = output[: max(0, self._left)]
            self._left -= len(output)
        return output


def tail_start(data: bytes, count: int, whole: bool) -> int | None:
    """Where the last `count` full lines begin in the end of a file; None when they may begin before it.

    `whole` says that `data` is the whole file; otherwise what comes before its first line break is left out.
    """
    start = 0 if whole else data.find(b"\n") + 1
    begins: list[int] = []
    """Where each full line begins: after the full line before it."""
    position, first = start, start
    while position < len(data):
        end = data.find(b"\n", position)
        stop = end if end >= 0 else len(data)
        line = parse(data[position:stop])
        if line is not None and line.full:
            begins.append(first)
            first = stop + 1
        position = stop + 1
    if first < len(data):
        begins.append(first)
    if count == 0:
        return len(data)
    if len(begins) > count or (whole and len(begins) >= count):
        return begins[-count]
    return 0 if whole else None
