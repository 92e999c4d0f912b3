"""Where findings are sent: a list in `D/forward.yaml`. Pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from pilothouse.guard.finding import Severity

KINDS: Final = ("webhook", "slack", "github", "jira")
_FILTERS: Final = frozenset({"severity", "owners", "namespaces", "quiet", "digest", "perMinute"})
_FIELDS: Final = _FILTERS | {"name", "kind", "url", "project", "tokenFile", "issueType"}
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class BadTarget(ValueError):
    """The file cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver. `quiet` are hours (UTC) in which nothing is sent but what is critical; with `digest` one message an
    owner is sent each day at that time, in place of one a finding."""

    name: str
    kind: str
    url: str
    project: str = ""
    token_file: str = ""
    severity: Severity = Severity.HIGH
    owners: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    quiet: tuple[dt.time, dt.time] | None = None
    digest: dt.time | None = None
    per_minute: int = 20
    issue_type: str = "Task"
    """What a Jira issue is made as."""

    def is_quiet(self, now: dt.datetime) -> bool:
        """Whether it is not to be disturbed."""
        if self.quiet is None:
            return False
        start, end = self.quiet
        at = now.timetz().replace(tzinfo=None)
        return start <= at < end if start <= end else at >= start or at < end


def parse_targets(text: str, file: str) -> list[Target]:
    """The receivers a file names. Raises BadTarget."""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadTarget(f"{file}:{mark.line + 1 if mark else 1}: not YAML: {getattr(error, 'problem', '')}") from error
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise BadTarget(f"{file}:1: a list of receivers is expected")
    found: list[Target] = []
    for child, entry in zip(node.value, entries):
        line = child.start_mark.line + 1
        try:
            target = _target(entry)
            if target.name in {known.name for known in found}:
                raise ValueError(f"the name {target.name} is there twice")
        except ValueError as error:
            raise BadTarget(f"{file}:{line}: {error}") from error
        found.append(target)
    return found


def _target(entry: Any) -> Target:
    if not isinstance(entry, dict):
        raise ValueError("a receiver is a mapping with name, kind and url")
    if unknown := sorted(set(entry) - _FIELDS):
        raise ValueError(f"there is no {unknown[0]!r}; a receiver has {', '.join(sorted(_FIELDS))}")
    name, kind, url = (str(entry.get(key) or "") for key in ("name", "kind", "url"))
    if not name:
        raise ValueError("the receiver has no name")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: there is {', '.join(KINDS)}")
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("url is no http or https address")  # not repeated: a hook's address is a secret
    project = str(entry.get("project") or "")
    if kind in ("github", "jira") and not project:
        raise ValueError("project is missing: owner/repository for GitHub, the key for Jira")
    minute = entry.get("perMinute", 20)
    if not isinstance(minute, int) or not 1 <= minute <= 600:
        raise ValueError("perMinute must be a number from 1 to 600")
    quiet = str(entry.get("quiet") or "")
    start, _, end = quiet.partition("-")
    return Target(
        name,
        kind,
        url.rstrip("/"),
        project,
        str(entry.get("tokenFile") or ""),
        Severity.parse(str(entry.get("severity", "high"))),
        frozenset(map(str, entry.get("owners") or ())),
        frozenset(map(str, entry.get("namespaces") or ())),
        (_clock(start), _clock(end)) if quiet else None,
        _clock(str(entry["digest"])) if entry.get("digest") else None,
        minute,
        str(entry.get("issueType") or "Task"),
    )


def _clock(text: str) -> dt.time:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time of day: write it as 22:00, quoted (UTC)")
    return dt.time(int(match[1]), int(match[2]))
