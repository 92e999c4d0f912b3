"""All objects that are judged together, indexed for checks across objects. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pilothouse.guard.finding import Check, Ref, ref_of
from pilothouse.guard.podspec import PodSpec, pod_spec, value_at
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import Operator, Selector, from_label_selector, from_labels

SYSTEM_NAMESPACES = frozenset(("kube-system", "kube-public", "kube-node-lease"))


class Entry:
    """One object of the snapshot; `namespace` is where it goes, also when it names none."""

    __slots__ = ("index", "namespace", "ref")

    def __init__(self, index: int, ref: Ref, namespace: str) -> None:
        self.index = index
        self.ref = ref
        self.namespace = namespace

    @property
    def tree(self) -> Obj:
        """The object."""
        raise NotImplementedError

    @property
    def pod(self) -> PodSpec | None:
        """The pod it is or makes."""
        raise NotImplementedError

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return labels_of(self.pod.labels if self.pod else None)

    @property
    def account(self) -> str:
        """The service account of its pods; "" for what runs none."""
        pod = self.pod
        return account_of(pod) if pod is not None else ""

    @property
    def name(self) -> str:
        return self.ref.name

    def at(self, path: str) -> Any:
        """The value at a dotted path, None where there is none."""
        return value_at(self.tree, path)

    def entries(self, path: str) -> list[Obj]:
        """The objects of the list at a path; empty when there is none."""
        value = self.at(path)
        return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


class TreeEntry(Entry):
    """An entry that holds its object."""

    __slots__ = ("_pod", "_tree")

    def __init__(self, tree: Obj, index: int, namespace: str) -> None:
        super().__init__(index, ref_of(tree), str(value_at(tree, "metadata.namespace") or namespace))
        self._tree = tree
        self._pod = pod_spec(tree)

    @property
    def tree(self) -> Obj:
        return self._tree

    @property
    def pod(self) -> PodSpec | None:
        return self._pod


def account_of(pod: PodSpec) -> str:
    """The service account a pod runs as."""
    return str(pod.spec.get("serviceAccountName") or pod.spec.get("serviceAccount") or "default")


def _bare(tree: Obj) -> Obj:
    """The identity alone."""
    ref = ref_of(tree)
    metadata = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Hit:
    """Something a check across objects found; reported at `entry`."""

    entry: Entry
    message: str
    field: str = ""
    container: str = ""


class Snapshot:
    """Objects as they would be in a cluster. Objects that are not among them are taken not to exist.

    Those numbered in `unsound` are not read, since their values have other types than they must; they only exist.
    """

    def __init__(
        self, trees: Iterable[Obj], namespace: str = "default", unsound: Collection[int] = frozenset()
    ) -> None:
        self.entries: list[Entry] = [
            TreeEntry(tree if index not in unsound else _bare(tree), index, namespace)
            for index, tree in enumerate(trees)
        ]
        self._kinds: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.index not in unsound:
                self._kinds[entry.ref.kind].append(entry)

    def of(self, *kinds: str) -> Iterator[Entry]:
        """All objects of these kinds."""
        for kind in kinds:
            yield from self._kinds.get(kind, ())

    def find(self, kind: str, namespace: str, name: str) -> Entry | None:
        """The object of this name."""
        return self._names.get((kind, namespace, name))

    def workloads(self, namespace: str | None = None) -> list[Entry]:
        """Everything that runs pods (of one namespace)."""
        return self._all_workloads if namespace is None else self._workloads.get(namespace, [])

    def selected(self, namespace: str, selector: Selector) -> list[Entry]:
        """Workloads of a namespace whose pods a selector selects."""
        candidates = self.workloads(namespace)
        for requirement in selector.requirements:
            if requirement.operator is Operator.IN and len(requirement.values) == 1:
                candidates = self._labelled.get((namespace, requirement.key, *requirement.values), [])
                break
        return [entry for entry in candidates if selector.matches(entry.pod_labels)]

    def serving(self, service: Entry) -> list[Entry]:
        """The workloads behind a Service; none for one without a selector."""
        labels = labels_of(service.at("spec.selector"))
        return self.selected(service.namespace, from_labels(labels)) if labels else []

    @cached_property
    def accounts(self) -> Collection[tuple[str, str]]:
        """The service accounts (namespace, name) that something runs as."""
        return {(entry.namespace, entry.account) for entry in self._all_workloads}

    @cached_property
    def _labelled(self) -> dict[tuple[str, ...], list[Entry]]:
        """Workloads by namespace and each label of their pods, so that a selector need not look at all."""
        found: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        for entry in self._all_workloads:
            for key, value in entry.pod_labels.items():
                found[entry.namespace, key, value].append(entry)
        return found

    @cached_property
    def _names(self) -> dict[tuple[str, str, str], Entry]:
        return {(entry.ref.kind, entry.namespace, entry.name): entry for entry in self.entries}

    @cached_property
    def _all_workloads(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.pod is not None and entry.ref.kind != "PodTemplate"]

    @cached_property
    def _workloads(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._all_workloads:
            found[entry.namespace].append(entry)
        return found


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """A check across objects: what it is, and the pure function that finds."""

    check: Check
    find: Callable[[Snapshot], Iterator[Hit]]


def labels_of(value: Any) -> Mapping[str, str]:
    """Labels as a mapping of texts; empty when the value is no such thing."""
    if not isinstance(value, dict):
        return {}
    return {str(key): str(text) for key, text in value.items()}


def selector_of(value: Any) -> Selector | None:
    """The selector of a LabelSelector; None when it is none, which its kind's schema tells."""
    if not isinstance(value, dict):
        return None
    try:
        return from_label_selector(value)
    except (ValueError, TypeError, AttributeError):
        return None
