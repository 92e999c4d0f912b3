from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilothouse.guard.images.match.versions import apk_compare, rpm_compare, version_key

PARTS = st.sampled_from(["0", "1", "2", "10", "00", "a", "b", "rc", "Z", "~", "+", ".", "~~", "+b"])
UPSTREAM = st.lists(PARTS, max_size=6).map(lambda parts: "1" + "".join(parts))
REVISION = st.one_of(st.just(""), st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "-" + "".join(parts)))
EPOCH = st.sampled_from(["", "", "0:", "1:"])
DEBIAN = st.tuples(EPOCH, UPSTREAM, REVISION).map("".join)


def sign(order: str, first: str, second: str) -> int:
    a, b = version_key(order, first), version_key(order, second)
    return (a > b) - (a < b)


@settings(max_examples=150, deadline=None)
@given(DEBIAN, DEBIAN)
@example("1.0", "1.0-0")
@example("1~", "1")
@example("1.0~rc1", "1.0")
@example("1a", "1a0")
@example("1", "1-0~~")
def test_debian_order_is_that_of_dpkg(first: str, second: str) -> None:
    found = sign("dpkg", first, second)
    operator = {-1: "lt", 0: "eq", 1: "gt"}[found]
    done = subprocess.run(["dpkg", "--compare-versions", first, operator, second], capture_output=True, check=False)
    assert done.returncode == 0, f"{first} {operator} {second}"


@pytest.mark.skipif(shutil.which("rpm") is None, reason="rpm is not installed")
def test_rpm_order_is_that_of_rpm() -> None:
    import random

    chance = random.Random(7)
    texts = ["".join(chance.choice("019aZ~^.+_") for _ in range(chance.randint(1, 7))) for _ in range(3000)]
    pairs = list(itertools.pairwise(texts))
    lua = "\n".join(f'print(rpm.vercmp("{a}", "{b}") .. " ")' for a, b in pairs)
    done = subprocess.run(["rpm", "--eval", f"%{{lua:{lua}}}"], capture_output=True, text=True, check=True)
    assert [rpm_compare(a, b) for a, b in pairs] == [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("1.0", "1.0", 0),
        ("1.0", "2.0", -1),
        ("2.0.1a", "2.0.1", 1),
        ("5.5p1", "5.5p10", -1),
        ("xyz10", "xyz10.1", -1),
        ("1.0~rc1", "1.0", -1),
        ("1.0^", "1.0", 1),
        ("1.0^git1", "1.01", -1),
        ("1.0^git1~pre", "1.0^git1", -1),
        ("1:1.0-1", "2.0-1", -1),
        ("0:1.0-1.el7", "1.0-1.el7_9", -1),
        ("1.0-1", "1.0", 0),
    ],
)
def test_rpm_order_by_its_published_examples(first: str, second: str, wanted: int) -> None:
    assert rpm_compare(first, second) == wanted
    assert rpm_compare(second, first) == -wanted


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("2.34", "0.1.0_alpha", 1),
        ("0.1.0_alpha", "0.1.3_alpha", -1),
        ("1.2.3_rc1", "1.2.3", -1),
        ("1.2.3_p1", "1.2.3", 1),
        ("1.2.3_git20240101", "1.2.3", 1),
        ("1.2_pre2", "1.2_rc1", -1),
        ("1.0.1a", "1.0.1", 1),
        ("1.0.1a", "1.0.1b", -1),
        ("3.1.4-r5", "3.1.4-r10", -1),
        ("1.1", "1.02", 1),
        ("1.0.1", "1.0", 1),
        ("0.0_git2", "0.0_git10", -1),
        ("1.2.3-r0", "1.2.3", 1),
    ],
)
def test_alpine_order(first: str, second: str, wanted: int) -> None:
    assert apk_compare(first, second) == wanted
    assert apk_compare(second, first) == -wanted


ORDERED = {
    "semver": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 "
    "v1.0.1-0.20200101000000-abcdef 1.0.1 1.2 1.10.0 2",
    "pep440": "1.dev1 1.0a1 1.0b2 1.0rc1 1.0 1.0+local 1.0.post1 1.1 1!0.1",
    "maven": "1-alpha-1 1-alpha2 1-beta1 1-m1 1-rc1 1-SNAPSHOT 1 1-sp1 1-jre 1-1 1.1 1.2 1.10 2.0.0.RC1 2.0.0.RELEASE "
    "2.0.1",
    "gem": "1.0.a 1.0.b1 1.0.rc1 1.0 1.0.1 1.1.pre 1.1 1.10",
}
"""The examples of the specifications."""


@pytest.mark.parametrize("order", ORDERED)
def test_order_by_published_examples(order: str) -> None:
    versions = ORDERED[order].split()
    for number, first in enumerate(versions):
        for second in versions[number + 1 :]:
            assert sign(order, first, second) == -1, (first, second)


@pytest.mark.parametrize(
    ("order", "first", "second"),
    [
        ("maven", "1.0.0", "1"),
        ("maven", "1.0.Final", "1"),
        ("maven", "1.ga", "1-ga"),
        ("maven", "1.rc1", "1-rc1"),
        ("maven", "1-a1", "1-alpha-1"),
        ("semver", "v1.2", "1.2.0"),
        ("semver", "1.2.3+build", "1.2.3"),
        ("gem", "1.0.0", "1"),
        ("dpkg", "0:1.0-0", "1.0"),
    ],
)
def test_versions_that_are_written_differently_and_the_same(order: str, first: str, second: str) -> None:
    assert sign(order, first, second) == 0


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ("dpkg", "x:1"),
        ("apk", "1.2.3_bogus1"),
        ("apk", ""),
        ("semver", "latest"),
        ("pep440", "1..2"),
        ("gem", "x"),
        ("maven", " "),
        ("rpm", "a:1-1"),
    ],
)
def test_what_is_no_version_raises(order: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        version_key(order, text)
