"""Who owns an object: what it says itself, what owns it says, a mapping file, its namespace. Pure.

In this order: the object's own labels and annotations, those of the objects that own it (`ownerReferences`, upwards),
the first entry of the mapping file that fits, the namespace's. The keys are those of `KEYS`, the first that is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import yaml

from pilothouse.guard.finding import Ref
from pilothouse.machinery.selector_text import parse_label_selector
from pilothouse.machinery.selectors import EVERYTHING, Selector

KEYS: Final = ("pilothouse.io/owner", "owner", "team", "app.kubernetes.io/owner", "a8r.io/owner", "contact")
_FIELDS = frozenset({"owner", "namespace", "kind", "name", "selector"})


class BadMapping(ValueError):
    """The mapping file cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Known:
    """What decides ownership of one object. `owners` are the refs of what owns it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owners: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a mapping: what it fits (patterns as of a shell), and who owns that."""

    owner: str
    namespace: str = "*"
    kind: str = "*"
    name: str = "*"
    selector: Selector = EVERYTHING

    def fits(self, ref: Ref, labels: Mapping[str, str]) -> bool:
        pairs = ((ref.namespace, self.namespace), (ref.kind, self.kind), (ref.name, self.name))
        return all(fnmatchcase(text, pattern) for text, pattern in pairs) and self.selector.matches(dict(labels))


def said(known: Known | None) -> str:
    """The owner an object names, "" when it names none."""
    if known is None:
        return ""
    for key in KEYS:
        found = known.annotations.get(key) or known.labels.get(key)
        if found:
            return found
    return ""


def owner_of(ref: Ref, known: Callable[[Ref], Known | None], mapping: Sequence[Entry] = ()) -> str:
    """Who owns an object, "" when nobody does. Owners that own each other are looked at once each."""
    pending, seen = [ref], {ref}
    while pending:
        about = known(pending[0])
        if found := said(about):
            return found
        fresh = [owner for owner in (about.owners if about else ()) if owner not in seen]
        seen.update(fresh)
        pending = [*pending[1:], *fresh]
    own = known(ref)
    labels = own.labels if own else {}
    for entry in mapping:
        if entry.fits(ref, labels):
            return entry.owner
    return said(known(Ref("v1", "Namespace", "", ref.namespace))) if ref.namespace else ""


def parse_mapping(text: str, file: str) -> list[Entry]:
    """The entries of a mapping file: a list of `{owner, namespace, kind, name, selector}`. Raises BadMapping."""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise BadMapping(f"{file}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise BadMapping(f"{file}:1: a list of entries is expected, each with owner and any of namespace, kind, name")
    return [_entry(child, file) for child in node.value]


def _entry(node: Any, file: str) -> Entry:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise BadMapping(f"{file}:{line}: an entry is a mapping such as {{namespace: shop, owner: shop-team}}")
    found: dict[str, str] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if key.value not in _FIELDS:
            raise BadMapping(f"{file}:{at}: there is no {key.value!r}; an entry has {', '.join(sorted(_FIELDS))}")
        if not isinstance(value, yaml.ScalarNode) or not value.value:
            raise BadMapping(f"{file}:{at}: {key.value} must be text")
        found[key.value] = value.value
    if "owner" not in found:
        raise BadMapping(f"{file}:{line}: the entry names no owner")
    try:
        selector = parse_label_selector(found.pop("selector")) if "selector" in found else EVERYTHING
    except Exception as error:
        raise BadMapping(f"{file}:{line}: selector: {error}") from error
    return Entry(**found, selector=selector)
