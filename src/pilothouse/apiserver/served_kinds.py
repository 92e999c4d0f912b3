"""Which kinds are served: those built in, and those that CustomResourceDefinitions make while the server runs.

Nothing has to be told about a definition: what is asked for is derived from the definitions as the store has them, and
kept until one of them changes. So a kind is there with the answer to the write that established it, and at once after
a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from pilothouse.apiserver import codec
from pilothouse.kinds.apiextensions.custom_kind import CustomKind, api_order, kinds_of
from pilothouse.kinds.apiextensions.definition import (
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    schemas_of,
)
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import Structural
from pilothouse.store.store import Record, Store

log = logging.getLogger(__name__)
_COLLECTION = codec.collection(CustomResourceDefinition.resource)
_DECODER = msgspec.json.Decoder(CustomResourceDefinition)


class _Made:
    """The kinds of one definition, and what they were made from."""

    __slots__ = ("essence", "group", "kinds", "names", "revision")

    def __init__(
        self,
        revision: int,
        essence: tuple[object, ...],
        kinds: list[CustomKind],
        definition: CustomResourceDefinition,
    ) -> None:
        self.revision = revision
        self.group = definition.spec.group
        self.names = definition.status.accepted_names
        self.essence = essence
        self.kinds = kinds


class ServedKinds:
    """All kinds, by group, version and plural."""

    def __init__(self, builtin: Sequence[Kind], store: Store) -> None:
        self.builtin = tuple(_with_rules(kind) for kind in builtin)
        self._store = store
        self._fixed = {_place(kind): kind for kind in self.builtin}
        self._fixed_resources = {(kind.resource.group, kind.resource.plural) for kind in builtin}
        self._made: dict[str, _Made] = {}
        self._custom: dict[tuple[str, str, str], CustomKind] = {}
        self._custom_resources: set[tuple[str, str]] = set()
        self._versions = {place[:2] for place in self._fixed}
        self._seen = 0
        self._version = 0

    @property
    def version(self) -> int:
        """Rises whenever other kinds are served than before, or in another form."""
        self._refresh()
        return self._version

    def built_in(self, place: tuple[str, str, str]) -> Kind | None:
        """The kind of a group, version and plural, if it is one of those built in."""
        return self._fixed.get(place)

    def get(self, group: str, version: str, plural: str) -> Kind | None:
        place = (group, version, plural)
        found = self._fixed.get(place)
        if found is not None:
            return found
        self._refresh()
        return self._custom.get(place)

    def serves(self, group: str, plural: str) -> bool:
        """Whether a resource is served in any version."""
        return (group, plural) in self._fixed_resources or (group, plural) in self._custom_resources

    def names_given(self, group: str, besides: str) -> list[CustomResourceDefinitionNames]:
        """The names that definitions of a group have, all but the definition of that name."""
        self._refresh()
        own = _COLLECTION + besides
        return [made.names for key, made in self._made.items() if made.group == group and key != own]

    def has_version(self, group: str, version: str) -> bool:
        """Whether anything is served in a group-version."""
        self._refresh()
        return (group, version) in self._versions

    def all(self) -> list[Kind]:
        """Every kind in the order of discovery: built-in ones, then groups by name, versions by preference."""
        self._refresh()
        order = {name: rank for rank, name in enumerate(api_order(list({place[1] for place in self._custom})))}
        custom = sorted(
            self._custom.values(), key=lambda k: (k.resource.group, order[k.resource.version], k.resource.plural)
        )
        return [*self.builtin, *custom]

    def _refresh(self) -> None:
        changed = self._store.changed(_COLLECTION)
        if changed == self._seen:
            return
        self._seen = changed
        made: dict[str, _Made] = {}
        for record in self._store.list(_COLLECTION):
            old = self._made.get(record.key)
            made[record.key] = old if old is not None and old.revision == record.revision else _make(record, old)
        custom = {_place(kind): kind for entry in made.values() for kind in entry.kinds}
        if {place: id(kind) for place, kind in custom.items()} != {p: id(k) for p, k in self._custom.items()}:
            self._version += 1
        self._made, self._custom = made, custom
        self._custom_resources = {(group, plural) for group, _, plural in custom}
        self._versions = {place[:2] for place in (*self._fixed, *custom)}


def _make(record: Record, old: _Made | None) -> _Made:
    try:
        definition = _DECODER.decode(record.value)
    except msgspec.ValidationError as error:
        # One that cannot be read must not take all others with it.
        log.error("the definition %s is not served: %s", record.key.removeprefix(_COLLECTION), error)
        return _Made(record.revision, (), [], CustomResourceDefinition())
    essence = (
        definition.metadata.uid,
        definition.metadata.generation,
        definition.status.accepted_names,
        definition.has("Established"),
        definition.metadata.deletion_timestamp is not None,
    )
    if old is not None and old.essence == essence:
        return _Made(record.revision, essence, old.kinds, definition)
    kinds = kinds_of(definition, schemas_of(record.value), record.revision, _check_object)
    return _Made(record.revision, essence, kinds, definition)


def _with_rules(kind: Kind) -> Kind:
    """Definitions are also asked whether the rules of their schemas compile."""
    if kind.view is not CustomResourceDefinition:
        return kind

    def rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
        before = len(problems)
        kind.rules(obj, old, problems)
        if len(problems) == before:
            from pilothouse.apiserver.custom_rules.definition import check_definition_rules

            check_definition_rules(obj, old, problems)

    return replace(kind, rules=rules)


def _check_object(schema: Structural, obj: Obj, old: Obj | None, problems: Problems) -> None:
    from pilothouse.apiserver.custom_rules.run import check_object  # late: CEL takes its time to import

    check_object(schema, obj, old, problems)


def _place(kind: Kind) -> tuple[str, str, str]:
    return (kind.resource.group, kind.resource.version, kind.resource.plural)
