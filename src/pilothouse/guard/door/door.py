"""Judges a write by the shipped checks. Pure: what is around the object is handed in."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import orjson

from pilothouse.guard.door.decide import Outcome, decide, seen
from pilothouse.guard.door.settings import ENFORCE, settings_of
from pilothouse.guard.effective import completed, without_nulls
from pilothouse.guard.exemptions.accept import in_force, means
from pilothouse.guard.finding import Finding, ref_of
from pilothouse.guard.judge import brief_evaluator, judge_admitted
from pilothouse.guard.podspec import pod_spec
from pilothouse.guard.shipped import shipped_policies
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.machinery.objects import Obj

_KINDS = (
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)
_PASSING = ("metadata", "status")
_UNSEEN = frozenset({"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"})
_NAMES = frozenset({"name", "generateName"})
_REMEMBERED = 512
_TOKEN_VOLUME = re.compile(rb"(?<=kube-api-access-)[a-z0-9]{5}")


class Around(NamedTuple):
    """What is around an object: labels of its namespace, entries of LimitRanges for containers, what its service
    account says of mounting tokens, and the exemptions of where its findings are kept."""

    labels: Mapping[str, str]
    limits: list[Obj]
    mounts: Mapping[str, bool]
    exemptions: Sequence[Exemption] = ()


class Door:
    """The shipped checks, compiled."""

    def __init__(self) -> None:
        self._evaluator, checks = brief_evaluator()
        self._known: OrderedDict[bytes, tuple[list[Finding], tuple[str, ...]]] = OrderedDict()
        """Verdicts by what checks look at: the pods of a workload are one but for their names."""
        self._fails_closed = {checks[policy.name].id for policy in shipped_policies() if policy.fails_closed}

    def prepare(self) -> Iterator[None]:
        """Compiles in small steps what objects of the usual kinds take."""
        return self._evaluator.prepare(_KINDS)

    def concerns(self, new: Obj, old: Obj | None) -> bool:
        """Whether there is anything to judge: a check is about the kind, and the write changes what checks look at."""
        if not self._evaluator.concerns(str(new.get("apiVersion")), str(new.get("kind"))):
            return False
        if old is None:
            return True
        written = (new.keys() | old.keys()) - set(_PASSING)
        return _told(new) != _told(old) or any(new.get(key) != old.get(key) for key in written)

    def judge(
        self, new: Obj, old: Obj | None, around: Callable[[Obj], Around], namespace: str, now: dt.datetime
    ) -> Outcome:
        """What is said about a write. `around` is asked for what is around a tree.

        A check that could not be evaluated is not a pass: it is named, and refuses when its failure policy is Fail.
        """
        given = around(new)
        settings = settings_of(namespace, given.labels)
        findings, missed = self._findings(new, given, now)
        if settings.mode == ENFORCE and (closed := self._fails_closed.intersection(missed)):
            return Outcome(f"the guard could not evaluate {', '.join(sorted(closed))}", not_checked=missed)
        before = set()
        if old is not None and findings:
            before = {seen(finding) for finding in self._findings(old, around(old), now)[0]}
        outcome = decide(findings, before, namespace, settings, heard=not _is_controlled(new))
        return outcome._replace(not_checked=missed)

    def _findings(self, tree: Obj, around: Around, now: dt.datetime) -> tuple[list[Finding], tuple[str, ...]]:
        key = _essence(tree, around)
        known = self._known.pop(key, None)
        if known is None:
            # The API drops the nulls of all kinds but custom ones.
            bare = tree if (tree.get("apiVersion"), tree.get("kind")) in _KINDS else without_nulls(tree)
            findings, missed = judge_admitted(completed(bare, around.limits, around.mounts), around.labels)
            known = findings, tuple(missed)
        self._known[key] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if not around.exemptions:
            return known
        ref = ref_of(tree)
        named = [replace(finding, ref=ref) for finding in known[0]]
        return [finding for finding in named if not _accepted(finding, tree, around, now)], known[1]


def _essence(tree: Obj, around: Around) -> bytes:
    """All that a verdict depends on. No check looks at times or versions, nor at a pod's name."""
    unseen = _UNSEEN | _NAMES if tree.get("kind") == "Pod" else _UNSEEN
    meta = {key: value for key, value in (tree.get("metadata") or {}).items() if key not in unseen}
    whole = [{**tree, "metadata": meta, "status": None}, around.labels, around.limits, around.mounts]
    data = orjson.dumps(whole, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(_TOKEN_VOLUME.sub(b"", data), digest_size=16).digest()


def _accepted(finding: Finding, tree: Obj, around: Around, now: dt.datetime) -> bool:
    labels = (tree.get("metadata") or {}).get("labels") or {}
    return any(in_force(found, now) and means(found, finding, labels) for found in around.exemptions)


def account_of(tree: Obj) -> str:
    """The service account of the pods an object is or makes; "" for what has none."""
    pod = pod_spec(tree)
    if pod is None:
        return ""
    return str(pod.spec.get("serviceAccountName") or pod.spec.get("serviceAccount") or "default")


def _told(tree: Obj) -> tuple[Obj, Obj]:
    meta = tree.get("metadata") or {}
    return meta.get("labels") or {}, meta.get("annotations") or {}


def _is_controlled(tree: Obj) -> bool:
    return any(owner.get("controller") for owner in (tree.get("metadata") or {}).get("ownerReferences") or ())
