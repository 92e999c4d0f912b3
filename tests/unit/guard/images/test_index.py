"""The law of the index: after any changes of data and images, what it says is what a full scan says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.live.index import Index
from pilothouse.guard.images.match.matcher import judge
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.match.worker import changes
from pilothouse.guard.images.model import Inventory, Package, Placed, System

JAMMY = System("ubuntu", "22.04", "jammy")
KINDS_OF: dict[str, tuple[str, System | None, str]] = {
    "debian": ("deb", System("debian", "12", "bookworm"), "Debian:12"),
    "red hat": ("rpm", System("rhel", "9.2"), "Red Hat:enterprise_linux:9::baseos"),
    "suse": ("rpm", System("sles", "15.5"), "SUSE:Linux Enterprise Module for Basesystem 15 SP5"),
    "ubuntu": ("deb", JAMMY, "Ubuntu:22.04:LTS"),
    "ubuntu pro": ("deb", JAMMY, "Ubuntu:Pro:22.04:LTS"),
    "pypi": ("pypi", None, "PyPI"),
}
"""Type of package, system, and the ecosystem that records are filed under."""
NAMES = ["alpha", "beta", "gamma"]
KINDS = st.sampled_from(sorted(KINDS_OF))
RECORDS = st.dictionaries(
    st.sampled_from([f"UBUNTU-CVE-2024-{number}" for number in range(6)]),
    st.tuples(KINDS, st.sampled_from(NAMES), st.integers(1, 4), st.booleans()),
    max_size=6,
)
PACKAGES = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 4)), max_size=3, unique_by=lambda entry: entry[0])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), RECORDS),
        st.tuples(st.just("image"), st.sampled_from("abc"), KINDS, PACKAGES),
        st.tuples(st.just("gone"), st.sampled_from("abc")),
        st.tuples(st.just("risk"), st.sampled_from([0.1, 0.9])),
    ),
    max_size=8,
)


def record(ident: str, entry: tuple[str, str, int, bool]) -> dict[str, Any]:
    kind, name, fixed, withdrawn = entry
    found: dict[str, Any] = {
        "id": ident,
        "modified": "2024",
        "upstream": [ident.removeprefix("UBUNTU-")],
        "affected": [
            {
                "package": {"ecosystem": KINDS_OF[kind][2], "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": str(fixed)}]}],
            }
        ],
    }
    return {**found, "withdrawn": "2024"} if withdrawn else found


def take(base: Base, folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    for result in Updater(base, folder).from_path(folder / name):
        assert not result.error, result.error


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_looking_at_what_changed_is_equal_to_looking_at_everything(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base, index = Base(None), Index()
        generation = 0
        for step in steps:
            if step[0] == "data":
                lines = [json.dumps(record(ident, entry)) for ident, entry in sorted(step[1].items())]
                lines.append(json.dumps({"id": "X-none", "modified": "2024", "affected": []}))
                take(base, Path(folder), "osv-all.jsonl", "\n".join(lines))
            elif step[0] == "risk":
                take(base, Path(folder), "epss.csv", f"cve,epss,percentile\nCVE-2024-1,{step[1]},0.5\n")
            elif step[0] == "image":
                _, image, kind, packages = step
                form, system, _ = KINDS_OF[kind]
                placed = tuple(Placed(Package(form, name, str(version))) for name, version in packages)
                index.add(image, Inventory(image, "image", system=system, packages=placed))
            else:
                index.remove(step[1])
            changed = changes(base, generation)
            generation = changed.generation
            assert changed.packages is not None
            keys = index.affected(changed.packages) + index.unanswered()
            for key in keys + (index.with_flaws() if changed.risk else []):
                index.answer(key, judge(base, key[1], key[0]))
            for image, inventory in index.images.items():
                assert index.flaws(image)[0] == scanned(base, inventory).flaws
        base.close()


def test_only_what_is_affected_is_looked_at() -> None:
    index = Index()
    for number in range(50):
        packages = tuple(Placed(Package("pypi", f"own-{number}", "1")) for _ in range(1))
        index.add(
            str(number), Inventory(str(number), "image", packages=(Placed(Package("pypi", "base", "1")), *packages))
        )
    assert {key[1].name for key in index.affected([("PyPI", "own-7"), ("PyPI", "absent")])} == {"own-7"}
    assert {key[1].name for key in index.affected([("PyPI", "base")])} == {"base"}
    for number in range(50):
        index.remove(str(number))
    assert index.all_keys() == []
    assert index.affected([("PyPI", "base")]) == []
