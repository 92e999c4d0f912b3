"""All objects the live checks know, indexed as a snapshot is, and kept so change by change. No I/O.

Objects are kept as documents and decoded when a check looks at them (`documents.py`); labels of pods and names of
service accounts are at hand, since every change asks for them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import orjson

from pilothouse.guard.effective import completed, container_limits
from pilothouse.guard.finding import Ref
from pilothouse.guard.findings.owners import Known
from pilothouse.guard.live.dependencies import PODS
from pilothouse.guard.podspec import PodSpec, pod_spec
from pilothouse.guard.snapshot import Entry, Snapshot, account_of, labels_of
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import Operator, Selector

_DECODED: Final = 512
"""Objects kept decoded: those of the namespaces that change now."""

Place = tuple[str, str, str]
"""Kind, namespace ("" outside namespaces), name."""


class LiveEntry(Entry):
    """An entry that decodes its object when asked."""

    __slots__ = ("_account", "_labels", "_world", "document", "known")

    def __init__(self, world: World, index: int, document: bytes, tree: Obj) -> None:
        metadata = tree["metadata"]
        ref = Ref(tree["apiVersion"], tree["kind"], metadata.get("namespace") or "", metadata["name"])
        super().__init__(index, ref, ref.namespace)
        self._world = world
        self.document = document
        pod = pod_spec(tree)
        self._labels = labels_of(pod.labels) if pod else {}
        self._account = account_of(pod) if pod else ""
        self.known = Known(
            labels_of(metadata.get("labels")),
            {k: v for k, v in labels_of(metadata.get("annotations")).items() if len(v) <= 256},
            tuple(_owner(ref, owner) for owner in metadata.get("ownerReferences") or ()),
        )

    @property
    def place(self) -> Place:
        return self.ref.kind, self.namespace, self.ref.name

    @property
    def tree(self) -> Obj:
        return self._world.tree_of(self)

    @property
    def pod(self) -> PodSpec | None:
        return pod_spec(self.tree)

    @property
    def pod_labels(self) -> Mapping[str, str]:
        return self._labels

    @property
    def account(self) -> str:
        return self._account


def _owner(ref: Ref, owner: Obj) -> Ref:
    return Ref(owner.get("apiVersion", ""), owner.get("kind", ""), ref.namespace, owner.get("name", ""))


class World:
    """Objects by kind, namespace and labels of their pods."""

    def __init__(self) -> None:
        self.entries: dict[Place, LiveEntry] = {}
        self.kinds: dict[str, dict[Place, LiveEntry]] = {}
        self.spaces: dict[tuple[str, str], dict[Place, LiveEntry]] = {}
        """By kind and namespace; a Namespace is in itself."""
        self.workloads: dict[str, dict[Place, LiveEntry]] = {}
        self.labelled: dict[tuple[str, ...], dict[Place, LiveEntry]] = {}
        self.accounts: Counter[tuple[str, str]] = Counter()
        self.mounts: dict[str, dict[str, bool]] = {}
        self.touched: tuple[Place, ...] = ()
        """Workloads that are completed otherwise than before the last change."""
        self._limits: dict[str, list[Obj]] = {}
        self._decoded: OrderedDict[Place, Obj] = OrderedDict()
        self._numbers = count()

    def put(self, document: bytes) -> tuple[LiveEntry | None, LiveEntry]:
        """Takes an object as it is now; what was known of it before, and what is."""
        tree = orjson.loads(document)
        entry = LiveEntry(self, next(self._numbers), document, tree)
        before = self._added(entry)
        old = self._take_out(entry.place)
        self.entries[entry.place] = entry
        for index, key in self._indexes(entry):
            index.setdefault(key, {})[entry.place] = entry
        if entry.account:
            self.accounts[entry.namespace, entry.account] += 1
        self._context(entry, tree)
        self._touch(entry, before)
        return old, entry

    def remove(self, place: Place) -> LiveEntry | None:
        """Forgets an object; what was known of it."""
        known = self.entries.get(place)
        if known is None:
            return None
        before = self._added(known)
        old = self._take_out(place)
        self._touch(known, before)
        return old

    def _take_out(self, place: Place) -> LiveEntry | None:
        old = self.entries.pop(place, None)
        self._decoded.pop(place, None)
        if old is None:
            return None
        for index, key in self._indexes(old):
            del index[key][place]
            if not index[key]:
                del index[key]
        if old.account:
            account = (old.namespace, old.account)
            self.accounts[account] -= 1
            if not self.accounts[account]:
                del self.accounts[account]
        self._context(old, None)
        return old

    def _indexes(self, entry: LiveEntry) -> Iterator[tuple[dict[Any, dict[Place, LiveEntry]], Any]]:
        kind = entry.ref.kind
        yield self.kinds, kind
        yield self.spaces, (kind, space_of(entry))
        if kind in PODS and entry.account:
            yield self.workloads, entry.namespace
            for key, value in entry.pod_labels.items():
                yield self.labelled, (entry.namespace, key, value)

    def _context(self, entry: LiveEntry, tree: Obj | None) -> None:
        """What an object adds to others of its namespace."""
        kind, namespace, name = entry.place
        if kind == "ServiceAccount":
            mounts = self.mounts.setdefault(namespace, {})
            mounts.pop(name, None)
            if tree is not None and isinstance(tree.get("automountServiceAccountToken"), bool):
                mounts[name] = tree["automountServiceAccountToken"]
        elif kind == "LimitRange":
            ranges = self.spaces.get(("LimitRange", namespace), {}).values()
            trees = [orjson.loads(entry.document) for entry in ranges]
            self._limits[namespace] = [limit for found in trees for limit in container_limits(found)]

    def _added(self, entry: LiveEntry) -> object:
        """What an object adds to others of its namespace, as it is now."""
        kind, namespace, name = entry.place
        if kind == "ServiceAccount":
            return self.mounts.get(namespace, {}).get(name)
        return self._limits.get(namespace) if kind == "LimitRange" else None

    def _touch(self, entry: LiveEntry, before: object) -> None:
        self.touched = ()
        if self._added(entry) == before:
            return
        of_account = entry.ref.name if entry.ref.kind == "ServiceAccount" else ""
        workloads = self.workloads.get(entry.namespace, {})
        self.touched = tuple(place for place, of in workloads.items() if of_account in ("", of.account))
        for place in self.touched:
            self._decoded.pop(place, None)

    def limits(self, namespace: str) -> list[Obj]:
        """The entries of the namespace's LimitRanges that are about containers."""
        return self._limits.get(namespace, [])

    def tree_of(self, entry: LiveEntry) -> Obj:
        """The object with what its namespace adds. Not to be changed."""
        tree = self._decoded.get(entry.place)
        if tree is None:
            found: Obj = orjson.loads(entry.document)
            tree = completed(found, self.limits(entry.namespace), self.mounts.get(entry.namespace, {}))
            self._decoded[entry.place] = tree
            if len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        return tree

    def labels_of_namespace(self, name: str) -> Mapping[str, str] | None:
        """The labels of a namespace, None when it is not known."""
        found = self.entries.get(("Namespace", "", name))
        return found.known.labels if found is not None else None

    def known(self, ref: Ref) -> Known | None:
        """What decides an object's ownership."""
        entry = self.entries.get((ref.kind, ref.namespace, ref.name)) or self.entries.get((ref.kind, "", ref.name))
        return entry.known if entry is not None else None


def space_of(entry: Entry) -> str:
    """The namespace whose matter an object is: its own, the name of a Namespace."""
    return entry.name if entry.ref.kind == "Namespace" else entry.namespace


class View(Snapshot):
    """The world as a snapshot that shows, of the kinds in `local`, only the objects of one namespace."""

    def __init__(self, world: World, space: str, local: Collection[str]) -> None:
        self._world = world
        self._space = space
        self._local = local

    def of(self, *kinds: str) -> Iterator[Entry]:
        world = self._world
        for kind in kinds:
            found = world.spaces.get((kind, self._space)) if kind in self._local else world.kinds.get(kind)
            yield from (found or {}).values()

    def find(self, kind: str, namespace: str, name: str) -> Entry | None:
        return self._world.entries.get((kind, namespace, name))

    def workloads(self, namespace: str | None = None) -> list[Entry]:
        if namespace is None:
            if "Pod" not in self._local:
                return [entry for found in self._world.workloads.values() for entry in found.values()]
            namespace = self._space
        return list(self._world.workloads.get(namespace, {}).values())

    def selected(self, namespace: str, selector: Selector) -> list[Entry]:
        candidates: Iterable[LiveEntry] = self._world.workloads.get(namespace, {}).values()
        for requirement in selector.requirements:
            if requirement.operator is Operator.IN and len(requirement.values) == 1:
                found = self._world.labelled.get((namespace, requirement.key, *requirement.values), {})
                candidates = found.values()
                break
        return [entry for entry in candidates if selector.matches(entry.pod_labels)]

    @property
    def accounts(self) -> Collection[tuple[str, str]]:
        return self._world.accounts
