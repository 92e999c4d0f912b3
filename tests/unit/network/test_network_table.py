"""Desired against present."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.network.facts import NOTHING, Contribution
from pilothouse.network.flows import StaleUdp, consequences
from pilothouse.network.pods import PodFacts, Pods
from pilothouse.network.table import Desired, elements_of


def lines(desired: Desired) -> list[str]:
    """The next change's commands; it is taken as done."""
    change = desired.change("t")
    desired.done(change)
    return (change.before + change.commands).splitlines()


def test_a_change_names_only_what_differs() -> None:
    desired = Desired()
    desired.put("a", Contribution({("m", "1"): "x", ("m", "2"): "y"}, {"c": ("r",)}))
    assert lines(desired) == [
        "add chain ip t c",
        "flush chain ip t c",
        "add rule ip t c r",
        "add element ip t m { 1 : x, 2 : y }",
    ]
    assert lines(desired) == []
    desired.put("a", Contribution({("m", "1"): "x", ("m", "2"): "z"}, {"c": ("r",)}))
    assert lines(desired) == ["delete element ip t m { 2 }", "add element ip t m { 2 : z }"]
    desired.put("a", NOTHING)
    assert lines(desired) == ["delete element ip t m { 1, 2 }", "flush chain ip t c", "delete chain ip t c"]


def test_what_two_owners_want_stays_until_both_are_gone() -> None:
    desired = Desired()
    desired.put("a", Contribution({("s", "1"): ""}))
    desired.put("b", Contribution({("s", "1"): ""}))
    lines(desired)
    desired.put("a", NOTHING)
    assert lines(desired) == []
    desired.put("b", NOTHING)
    assert lines(desired) == ["delete element ip t s { 1 }"]


def test_the_last_of_two_owners_decides() -> None:
    desired = Desired()
    desired.put("a", Contribution({("m", "1"): "x"}))
    desired.put("b", Contribution({("m", "1"): "y"}))
    assert lines(desired) == ["add element ip t m { 1 : y }"]
    desired.put("b", NOTHING)
    assert lines(desired) == ["delete element ip t m { 1 }", "add element ip t m { 1 : x }"]


def test_a_refused_change_comes_again() -> None:
    desired = Desired()
    desired.put("a", Contribution({("s", "1"): ""}))
    desired.failed(desired.change("t"))
    assert lines(desired) == ["add element ip t s { 1 }"]


def test_what_an_earlier_run_left_is_made_up_for() -> None:
    desired = Desired()
    desired.put("a", Contribution({("s", "1"): "", ("s", "2"): ""}, {"keep": ("r",)}, {"p": "set p { x }"}))
    desired.assume(
        {("s", "1"): "", ("s", "9"): "", ("gone", "1"): ""}, ["keep", "old"], {"gone": "set", "pace": "limit"}
    )
    assert lines(desired) == [
        "add set ip t p { x }",
        "add chain ip t keep",
        "flush chain ip t keep",
        "add rule ip t keep r",
        "delete element ip t s { 9 }",
        "add element ip t s { 2 }",
        "flush chain ip t old",
        "delete chain ip t old",
        "delete set ip t gone",
        "delete limit ip t pace",
    ]


contributions = st.builds(
    Contribution,
    st.dictionaries(st.tuples(st.sampled_from(["m", "n"]), st.sampled_from("123")), st.sampled_from("xy")),
)


@given(st.lists(st.tuples(st.sampled_from("abc"), contributions), max_size=12))
def test_any_sequence_ends_where_its_last_contributions_lead(steps: list[tuple[str, Contribution]]) -> None:
    desired = Desired()
    present: dict[tuple[str, str], str] = {}
    for owner, wanted in steps:
        desired.put(owner, wanted)
        change = desired.change("t")
        for key, before in desired.replaced(change).items():
            assert before == present.get(key)
        desired.done(change)
        for key, value in change.elements.items():
            present.pop(key, None)
            if value is not None:
                present[key] = value
    wanted_keys = {key for owner in "abc" for key in desired.of(owner).elements}
    assert set(present) == wanted_keys


def test_elements_are_read_as_they_are_written() -> None:
    listed = {
        "name": "endpoints",
        "map": "ipv4_addr . inet_service",
        "elem": [[{"concat": ["10.97.0.1", "tcp", 443, 1346895872]}, {"concat": ["10.232.0.3", 6443]}]],
    }
    key = "10.97.0.1 . tcp . 443 . 1346895872"
    assert elements_of(listed) == {("endpoints", key): "10.232.0.3 . 6443"}
    verdicts = {"name": "services", "map": "verdict", "elem": [["10.0.0.1", {"goto": {"target": "to_1"}}]]}
    assert elements_of(verdicts) == {("services", "10.0.0.1"): "goto to_1"}
    plain = {"name": "refused", "elem": ["10.0.0.1", {"elem": {"val": "10.0.0.2", "timeout": 3}}]}
    assert elements_of(plain) == {("refused", "10.0.0.1"): "", ("refused", "10.0.0.2"): ""}


def test_udp_endpoints_that_go_leave_stale_flows() -> None:
    key = ("endpoints", "10.97.0.1 . udp . 53 . 1")
    front = ("10.97.0.1", 53)
    found = consequences({key: "10.232.0.3 . 5353"}, {key: "10.232.0.4 . 5353"})
    assert found.stale == {StaleUdp(front, ("10.232.0.3", 5353))}
    assert consequences({key: None}, {key: "10.232.0.4 . 5353"}).stale == {StaleUdp(front, None)}
    tcp = ("endpoints", "10.97.0.1 . tcp . 53 . 1")
    assert not consequences({tcp: "10.232.0.3 . 5353"}, {tcp: None}).stale


def test_flows_are_judged_again_when_isolation_grows_only() -> None:
    assert consequences({("ingress", "1"): None}, {("ingress", "1"): "jump c"}).judge
    assert consequences({("peers_x", "1"): ""}, {("peers_x", "1"): None}).judge
    assert not consequences({("peers_x", "1"): None}, {("peers_x", "1"): ""}).judge


def test_an_address_belongs_to_the_younger_pod() -> None:
    pods = Pods()
    old = PodFacts("a/old", "a", "10.0.0.1", {}, created="2026-01-01T00:00:00Z")
    new = PodFacts("a/new", "a", "10.0.0.1", {}, created="2026-01-01T00:00:05Z")
    assert pods.put("a/old", old) == {"a/old"}
    assert pods.put("a/new", new) == {"a/new", "a/old"}
    assert pods.get("a/old") is None
    assert pods.put("a/old", old) == set()
    assert pods.by_address["10.0.0.1"] is new
    assert pods.put("a/new", None) == {"a/new"}
    assert pods.by_address == {}
