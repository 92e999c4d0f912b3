"""Desired against present: who wants what in the table, and the batch that makes it so. Pure.

`Desired` keeps every owner's contribution and remembers what was touched since the last batch, so that the cost of a
change follows its own size, not the table's. After the first batch (which compares with what the kernel held) the
present state is known without reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pilothouse.network.facts import NOTHING, Contribution, Key

_PIECE = 500
"""Elements named in one command; longer lines make libnftables' parser slow."""


@dataclass(slots=True)
class Change:
    """The commands ("" when there is nothing to do) and what they lead to; None for what goes.

    `before` is a transaction of its own: new chains must be there before an element leads to them. A packet keeps the
    rules of the moment it came, but finds elements as they are by then; so a chain made together with the element
    that leads to it can still be empty for that packet, which would miss its service, or pass its policy.
    """

    elements: dict[Key, str | None]
    chains: dict[str, tuple[str, ...] | None]
    sets: dict[str, str | None]
    before: str = ""
    commands: str = ""


class Desired:
    """The contributions of all owners, and the kernel's state as far as it is known."""

    def __init__(self) -> None:
        self._owners: dict[str, Contribution] = {}
        self._elements: dict[Key, dict[str, str]] = {}
        self._chains: dict[str, dict[str, tuple[str, ...]]] = {}
        self._sets: dict[str, dict[str, str]] = {}
        self._touched: set[Key] = set()
        self._touched_chains: set[str] = set()
        self._touched_sets: set[str] = set()
        self._present: dict[Key, str] = {}
        self._present_chains: dict[str, tuple[str, ...] | None] = {}
        self._present_sets: dict[str, str] = {}
        """The kind (`set`, `limit`) by name."""

    def owners(self, prefix: str) -> list[str]:
        """The owners with something in the table whose name begins with `prefix`."""
        return [owner for owner in self._owners if owner.startswith(prefix)]

    def of(self, owner: str) -> Contribution:
        """What that owner wants at present."""
        return self._owners.get(owner, NOTHING)

    def in_force(self, key: Key) -> bool:
        """Whether the kernel has that element."""
        return key in self._present

    def put(self, owner: str, wanted: Contribution) -> None:
        """Replaces what an owner wants. Where two owners disagree about an element, the one put last has its way."""
        before = self.of(owner)
        if before == wanted:
            return
        _claim(self._elements, self._touched, owner, before.elements, wanted.elements)
        _claim(self._chains, self._touched_chains, owner, before.chains, wanted.chains)
        _claim(self._sets, self._touched_sets, owner, before.sets, wanted.sets)
        if wanted:
            self._owners[owner] = wanted
        else:
            self._owners.pop(owner, None)

    def assume(self, elements: dict[Key, str], chains: Iterable[str], sets: Mapping[str, str]) -> None:
        """States what the kernel holds: `sets` by name with their kind; chains count as outdated.

        Everything is compared by the next batch.
        """
        self._present = elements
        self._present_chains = dict.fromkeys(chains)
        self._present_sets = dict(sets)
        self._touched = {*self._elements, *elements}
        self._touched_chains = {*self._chains, *self._present_chains}
        self._touched_sets = {*self._sets, *self._present_sets}

    def change(self, table: str) -> Change:
        """The commands that bring the kernel to what is wanted. Give it to `done` or `failed` afterwards.

        New sets and chains come before the elements that name them, and go after those are gone.
        """
        change = Change(
            elements={key: _last(self._elements.get(key)) for key in self._touched},
            chains={name: _last(self._chains.get(name)) for name in self._touched_chains},
            sets={name: _last(self._sets.get(name)) for name in self._touched_sets},
        )
        self._touched, self._touched_chains, self._touched_sets = set(), set(), set()
        lines = [
            _declare(table, text)
            for name, text in sorted(change.sets.items())
            if text and name not in self._present_sets
        ]
        for name, rules in sorted(change.chains.items()):
            if rules and self._present_chains.get(name) != rules:
                lines += [f"add chain ip {table} {name}", f"flush chain ip {table} {name}"]
                lines += [f"add rule ip {table} {name} {rule}" for rule in rules]
        change.before = "\n".join(lines) + "\n" if lines else ""
        lines = self._element_commands(table, change)
        gone = sorted(name for name, rules in change.chains.items() if not rules and name in self._present_chains)
        # A chain's rules may be the last to refer to a set, so chains go first.
        lines += [f"flush chain ip {table} {name}" for name in gone]
        lines += [f"delete chain ip {table} {name}" for name in gone]
        lines += [
            f"delete {self._present_sets[name]} ip {table} {name}"
            for name, text in sorted(change.sets.items())
            if not text and name in self._present_sets
        ]
        change.commands = "\n".join(lines) + "\n" if lines else ""
        return change

    def replaced(self, change: Change) -> dict[Key, str | None]:
        """The present elements that a change touches; None for what is not there."""
        return {key: self._present.get(key) for key in change.elements}

    def done(self, change: Change) -> None:
        """Takes note that a change is in force."""
        for key, value in change.elements.items():
            if value is None:
                self._present.pop(key, None)
            else:
                self._present[key] = value
        for name, rules in change.chains.items():
            if rules is None:
                self._present_chains.pop(name, None)
            else:
                self._present_chains[name] = rules
        for name, text in change.sets.items():
            if text is None:
                self._present_sets.pop(name, None)
            else:
                self._present_sets[name] = text.partition(" ")[0]

    def failed(self, change: Change) -> None:
        """Takes note that a change was refused: its parts are in the next one again."""
        self._touched.update(change.elements)
        self._touched_chains.update(change.chains)
        self._touched_sets.update(change.sets)

    def _element_commands(self, table: str, change: Change) -> list[str]:
        removed: dict[str, list[str]] = {}
        added: dict[str, list[str]] = {}
        for key, wanted in sorted(change.elements.items()):
            present = self._present.get(key)
            if wanted == present:
                continue
            name, text = key
            if present is not None and change.sets.get(name, "") is not None:
                removed.setdefault(name, []).append(text)
            if wanted is not None:
                added.setdefault(name, []).append(f"{text} : {wanted}" if wanted else text)
        lines = []
        for verb, elements in (("delete", removed), ("add", added)):
            for name, texts in sorted(elements.items()):
                for start in range(0, len(texts), _PIECE):
                    piece = ", ".join(texts[start : start + _PIECE])
                    lines.append(f"{verb} element ip {table} {name} {{ {piece} }}")
        return lines


def _claim(
    claims: dict[Any, dict[str, Any]], touched: set[Any], owner: str, before: dict[Any, Any], wanted: dict[Any, Any]
) -> None:
    for key in before.keys() - wanted.keys():
        owners = claims[key]
        del owners[owner]
        if not owners:
            del claims[key]
        touched.add(key)
    for key, value in wanted.items():
        owners = claims.setdefault(key, {})
        if owners.get(owner) != value:
            owners.pop(owner, None)  # to the end: put last
            owners[owner] = value
            touched.add(key)


def _last(owners: dict[str, Any] | None) -> Any:
    return next(reversed(owners.values())) if owners else None


def _declare(table: str, text: str) -> str:
    kind, name, body = text.split(" ", 2)
    return f"add {kind} ip {table} {name} {body}"


def elements_of(listed: dict[str, Any]) -> dict[Key, str]:
    """The elements of a set or map as libnftables-json describes it, in the notation of the rules."""
    found: dict[Key, str] = {}
    name = listed["name"]
    for element in listed.get("elem", ()):
        if "map" in listed:
            key, value = element
            found[name, _text(key)] = _text(value)
        else:
            found[name, _text(element)] = ""
    return found


def _text(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "concat" in value:
        return " . ".join(_text(part) for part in value["concat"])
    if "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if "elem" in value:
        return _text(value["elem"]["val"])
    verb, target = next(iter(value.items()))
    return f"{verb} {target['target']}" if isinstance(target, dict) else verb
