"""A kept finding as the object the API serves. Pure."""

from __future__ import annotations

import uuid

import orjson

from pilothouse.guard.findings.facts import labels_of
from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.risk import risk
from pilothouse.kinds.guard.finding import FINDINGS
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Record

_SPACE = uuid.UUID("6f1f5f1e-3f0b-5d0e-9f43-9a1d3a7f2c11")
_HEAD: Obj = {"kind": FINDINGS.kind, "apiVersion": FINDINGS.api_version}


def record_of(row: Row) -> Record:
    """The record under the row's revision."""
    return Record(row.key, row.revision, orjson.dumps(tree_of(row)))


def tree_of(row: Row) -> Obj:
    """The object; metadata first, as the store's documents are."""
    check, evidence = row.check, dict(row.evidence)
    meta = {
        "resourceVersion": str(row.revision),
        "name": row.name,
        "namespace": row.namespace,
        "uid": str(uuid.uuid5(_SPACE, row.key + row.first_seen)),
        "creationTimestamp": row.first_seen,
        "labels": labels_of(row),
    }
    subject = {
        "apiVersion": row.ref.api_version,
        "kind": row.ref.kind,
        "namespace": row.ref.namespace,
        "name": row.ref.name,
    }
    spec = {
        "rule": check.id,
        "title": check.title,
        "severity": str(check.severity),
        "risk": risk(check.severity, evidence),
        "category": check.category,
        "source": row.source,
        "subject": {key: value for key, value in subject.items() if value},
        "container": row.container,
        "field": row.field,
        "message": row.message,
        "evidence": evidence,
        "why": check.why,
        "remedy": check.remedy,
        "standards": check.standards,
    }
    status = {
        "state": row.state,
        "owner": row.owner,
        "firstSeen": row.first_seen,
        "lastSeen": row.last_seen,
        "resolvedAt": row.resolved_at,
        "newBecause": row.because,
        "exemption": row.exemption,
    }
    return {**_HEAD, "metadata": meta, "spec": _given(spec), "status": _given(status)}


def _given(tree: Obj) -> Obj:
    return {key: value for key, value in tree.items() if value}
