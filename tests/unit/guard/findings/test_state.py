"""Findings in memory: moments that stay, selectors without documents, watches."""

import asyncio
import bisect
from collections.abc import Sequence
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.apiserver.selection import Selection
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.findings import changes, ordered
from pilothouse.guard.findings.model import PREFIX, Row
from pilothouse.guard.findings.ordered import OrderedRows
from pilothouse.guard.findings.state import FindingState, Rendered
from pilothouse.kinds.guard.finding import KIND
from pilothouse.store.store import Compacted, WatchEnded

CHECKS = [Check(f"rule-{n}", "T", Severity(1 + n % 4), "security", "W", "R") for n in range(4)]


def row(
    name: str, revision: int = 1, rule: int = 0, owner: str = "", state: str = "open", namespace: str = "shop"
) -> Row:
    ref = Ref("apps/v1", "Deployment", namespace, name)
    key = f"{PREFIX}{namespace}/{name}"
    seen = "2026-11-01T00:00:00Z"
    return Row(key, revision, "checks", name, CHECKS[rule], ref, "m", "", "", (), state, owner, seen, seen, "", "", "")


def keys(rows: Sequence[Row]) -> list[str]:
    return [found.key for found in rows]


names = st.integers(0, 40).map(lambda n: f"n{n:02}")


@given(st.lists(st.tuples(st.booleans(), names), max_size=120), st.data())
def test_rows_in_order_are_those_of_a_plain_mapping_and_moments_stay(
    steps: list[tuple[bool, str]], data: st.DataObject
) -> None:
    small, ordered.CHUNK = ordered.CHUNK, 3  # type: ignore[misc]
    try:
        rows, plain = OrderedRows(), dict[str, Row]()
        moments = []
        for add, name in steps:
            made = row(name)
            if add:
                rows.put(made)
                plain[made.key] = made
            elif made.key in plain:
                rows.remove(made.key)
                del plain[made.key]
            else:
                with pytest.raises(KeyError):
                    rows.remove(made.key)
            moments.append((rows.now, sorted(plain)))
        for now, expected in moments:
            assert keys(now) == expected
            assert len(now) == len(expected)
        start, stop = data.draw(st.tuples(st.integers(-9, 45), st.integers(-9, 45)))
        for now, expected in moments[-1:]:
            assert keys(now[start:stop]) == expected[start:stop]
            assert [now[at].key for at in range(len(now))] == expected
            for name in ("n00", "n2", "n40", "z"):
                assert now.place(f"{PREFIX}shop/{name}") == bisect.bisect_left(expected, f"{PREFIX}shop/{name}")
            prefix = f"{PREFIX}shop/n1"
            assert keys(now.under(prefix)) == [key for key in expected if key.startswith(prefix)]
    finally:
        ordered.CHUNK = small  # type: ignore[misc]


texts = st.sampled_from(["", "shop-team", "A team / of two", "x" * 80, "-"])
rows = st.builds(
    row,
    names,
    st.just(1),
    st.integers(0, 3),
    texts,
    st.sampled_from(["open", "accepted", "resolved"]),
    st.sampled_from(["shop", "bank"]),
)
label_terms = st.sampled_from(
    [
        "pilothouse.io/severity in (high,critical)",
        "pilothouse.io/owner=shop-team",
        "pilothouse.io/owner",
        "!pilothouse.io/owner",
        "pilothouse.io/state!=open",
        "pilothouse.io/source=checks",
        "tier=web",
        "!tier",
    ]
)
field_terms = st.sampled_from([f"{key}{sign}{{}}" for key in KIND.selectable_fields({}) for sign in ("=", "!=")])


@given(st.lists(rows, max_size=20), st.lists(label_terms, max_size=2), st.lists(field_terms, max_size=2), st.data())
def test_what_is_selected_without_documents_is_what_is_selected_by_them(
    some: list[Row], labels: list[str], fields: list[str], data: st.DataObject
) -> None:
    values = st.sampled_from(["", "open", "high", "shop", "bank", "shop-team", "n03", "Deployment", "rule-1"])
    selection = Selection(KIND, ",".join(labels), ",".join(term.format(data.draw(values)) for term in fields))
    found = asyncio.run(selection.chosen(Rendered(some)))
    assert list(found) == [record for record in Rendered(some) if selection.matches(record.value)]
    assert list(asyncio.run(selection.chosen(Rendered(some), 2))) == list(found)[:2]


def test_a_list_and_an_earlier_moment_are_as_they_were() -> None:
    state = FindingState()
    state.put([row("a", 1), row("b", 2), row("c", 3)])
    before = state.list(PREFIX)
    state.put([row("b", 4, owner="ann"), row("d", 5)])
    state.remove([row("a", 6)])
    assert [record.revision for record in before] == [1, 2, 3]
    assert list(state.list_at(PREFIX, 3)) == list(before)
    assert [record.revision for record in state.list_at(PREFIX, 4)] == [1, 4, 3]
    assert [record.revision for record in state.list_at(f"{PREFIX}bank/", 4)] == []
    assert [record.key for record in state.list(PREFIX)] == [f"{PREFIX}shop/{name}" for name in "bcd"]


def test_a_moment_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WINDOW", 3)
    state = FindingState()
    state.put([row("a", revision) for revision in range(1, 8)])
    assert state.compacted == 4
    with pytest.raises(Compacted):
        state.list_at(PREFIX, 3)
    with pytest.raises(Compacted):
        state.watch(PREFIX, 3)


async def test_a_watch_catches_up_goes_on_and_keeps_to_its_prefix() -> None:
    state = FindingState()
    state.put([row("a", 1), row("b", 2), row("x", 3, namespace="bank")])
    watch = state.watch(f"{PREFIX}shop/", 1)
    assert [event.revision for event in await watch.next()] == [2]
    assert await watch.next(0.001) == []
    waiting = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    state.put([row("y", 4, namespace="bank"), row("b", 5, owner="ann")])
    state.remove([row("b", 6)])
    told = await waiting
    assert [(event.revision, event.deleted) for event in told] == [(5, False), (6, True)]
    assert told[0].previous is not None
    assert (told[0].previous.revision, told[1].previous and told[1].previous.revision) == (2, 5)
    await state.close()
    with pytest.raises(WatchEnded):
        await watch.next()


async def test_a_reader_that_falls_behind_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PENDING", 2)
    state = FindingState()
    watch = state.watch(PREFIX, 0)
    state.put([row("a", revision) for revision in (1, 2, 3)])
    with pytest.raises(WatchEnded):
        await watch.next()


async def test_many_changes_are_read_in_turns_and_all_of_them() -> None:
    state = FindingState()
    watch = state.watch(PREFIX, 0)
    state.put([row(f"a{revision}", revision) for revision in range(1, 501)])
    seen: list[int] = []
    while len(seen) < 500:
        seen += [event.revision for event in await watch.next()]
    assert seen == list(map(attrgetter("revision"), state.rows.values()))
