"""`pilothouse access last-used`, `least`: rights by what the audit log shows as used."""

from __future__ import annotations

import datetime as dt
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import typer
import yaml

from pilothouse.cli import output as formats
from pilothouse.cli.errors import CommandError
from pilothouse.cli.findings import seconds
from pilothouse.guard.access.rights import Subject, account_of, parse_subject
from pilothouse.guard.access.usage import Needed, Usage, least, replay, usage_of
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj

_RBAC = "rbac.authorization.k8s.io"


def run_last_used(output: str | None, data_dir: str, audit_log: str | None) -> int:
    """Prints when each subject was last heard of."""
    formats.check(output)
    usage = _usage(data_dir, audit_log, None)
    order = sorted(usage.by_user.items(), key=lambda item: item[1].last)
    rows = [
        {"subject": str(Subject("User", user)), "last": used.last[:19] + "Z", "requests": len(used.requests)}
        for user, used in order
    ]
    if output:
        formats.write({"from": usage.start, "to": usage.end, "unread": usage.unread, "subjects": rows}, output)
        return 0
    for row in rows:
        typer.echo(f"{row['last']}  {row['subject']}  {row['requests']} different requests")
    typer.echo(_window(usage))
    return 0


def run_least(text: str, since: str, data_dir: str, audit_log: str | None) -> int:
    """Prints roles and bindings with what a subject used, and how well they did in a replay."""
    try:
        subject = parse_subject(text)
    except ValueError as error:
        raise CommandError(str(error), code=2) from error
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds(since, "--since") or 0.0)
    usage = _usage(data_dir, audit_log, start)
    used = usage.by_user.get(subject.name)
    if used is None:
        raise CommandError(f"the audit log tells of no request of {subject}: {_window(usage)}")
    needed = least(used)
    refused = replay(needed, used.requests)
    typer.echo(f"# {subject}: {len(used.requests)} different requests. {_window(usage)}")
    typer.echo(f"# Replayed: {len(used.requests) - len(refused)} pass, {len(refused)} are refused.")
    typer.echo("# What happened outside the window, or was not logged, is not in it: try it beside the old role first.")
    typer.echo(
        yaml.safe_dump_all([tree for entry in needed for tree in _objects(subject, entry)], sort_keys=False), nl=False
    )
    return 1 if refused else 0


def _objects(subject: Subject, needed: Needed) -> list[Obj]:
    """A role and its binding."""
    name = "least-" + re.sub(r"[^a-z0-9.-]+", "-", subject.name.lower().rpartition(":")[2]).strip("-.")
    kind = "Role" if needed.namespace else "ClusterRole"
    meta = {"name": name, **({"namespace": needed.namespace} if needed.namespace else {})}
    found = account_of(subject)
    who: Obj = {"kind": "User", "apiGroup": _RBAC, "name": subject.name}
    if found:
        who = {"kind": "ServiceAccount", "namespace": found[0], "name": found[1]}
    head = {"apiVersion": f"{_RBAC}/v1"}
    return [
        {**head, "kind": kind, "metadata": meta, "rules": [to_tree(rule) for rule in needed.rules]},
        {
            **head,
            "kind": f"{kind}Binding",
            "metadata": dict(meta),
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
            "subjects": [who],
        },
    ]


def _window(usage: Usage) -> str:
    told = f"The log covers {usage.start[:19]}Z to {usage.end[:19]}Z." if usage.start else "The log is empty."
    return told + (f" {usage.unread} lines could not be read." if usage.unread else "")


def _usage(data_dir: str, audit_log: str | None, since: dt.datetime | None) -> Usage:
    path = Path(audit_log) if audit_log else Path(data_dir, "audit", "audit.log")
    if not path.exists():
        raise CommandError(f"there is no audit log {path}: name one with --audit-log, or run this on the first machine")
    try:
        return usage_of(_lines(path), since)
    except PermissionError as error:
        raise CommandError(f"{path} is readable by root only: use sudo") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a log and of the files it was turned over to."""
    for file in sorted(path.parent.glob(path.name + "*")):
        if file.suffix == ".gz":
            with gzip.open(file) as packed:
                yield from packed
        else:
            with file.open("rb") as plain:
                yield from plain
