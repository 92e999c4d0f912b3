from __future__ import annotations

from typing import Any

import pytest

from pilothouse.guard.images.inventory.merge import ImageConfig, assemble
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import BaseImage, Inventory, Layer, LayerRecord
from pilothouse.guard.images.report.base import newer_of, of_base
from pilothouse.guard.images.source.base import base_of

NOW = 1_700_000_000.0
NAME, DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


def history(*steps: str) -> dict[str, Any]:
    """Steps as commands; those in brackets make no layer."""
    return {
        "history": [
            {"created_by": step.strip("()"), "empty_layer": True} if step[0] == "(" else {"created_by": step}
            for step in steps
        ]
    }


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (history("ADD rootfs", '(CMD ["/bin/sh"])', "RUN apt-get", "COPY app", '(CMD ["app"])'), 1),
        (history("ADD a", '(/bin/sh -c #(nop)  CMD ["bash"])', "RUN b", "RUN c", '(CMD ["python3"])', "COPY d"), 3),
        (history("ADD a", "(ENV x=1)", '(ENTRYPOINT ["x"])', '(CMD ["y"])', "COPY b"), 1),
        (history("ADD rootfs", '(CMD ["sh"])'), 0),
        (history("ADD rootfs", "RUN echo CMD"), 0),
    ],
)
def test_a_base_ends_where_a_command_is_followed_by_a_layer(config: dict[str, Any], layers: int) -> None:
    found = base_of({}, config)
    assert (found.layers if found else 0) == layers


@pytest.mark.parametrize(
    "config", [{}, {"history": None}, {"history": ["x", 1, {"created_by": 7}]}, {"config": {"Labels": [1]}}]
)
def test_what_says_nothing_of_a_base(config: dict[str, Any]) -> None:
    assert base_of({"annotations": {"other": "x", NAME: 5}}, config) is None


def test_what_the_maker_says_comes_from_annotations_before_labels() -> None:
    config = {"config": {"Labels": {NAME: "debian:11", DIGEST: "sha256:aa"}}}
    assert base_of({"annotations": {NAME: "debian:12"}}, config) == BaseImage("debian:12", "sha256:aa", 0)


def layers(*days: int) -> tuple[Layer, ...]:
    return tuple(
        Layer(f"sha256:{n}", created=f"2023-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z")
        for n, day in enumerate(days)
    )


SYSTEM = LayerRecord(systems={"etc/os-release": {"ID": "debian", "VERSION_ID": "12"}})


@pytest.mark.parametrize(
    ("said", "records", "wanted"),
    [
        (None, [SYSTEM, LayerRecord()], BaseImage(layers=1)),
        (BaseImage("debian:12", layers=2), [SYSTEM, LayerRecord(), LayerRecord()], BaseImage("debian:12", "", 2)),
        (None, [LayerRecord(), SYSTEM, LayerRecord()], BaseImage(layers=2)),
        (None, [SYSTEM], None),
        (BaseImage("scratch-like"), [LayerRecord()], BaseImage("scratch-like")),
    ],
)
def test_a_base_has_the_operating_system(
    said: BaseImage | None, records: list[LayerRecord], wanted: BaseImage | None
) -> None:
    image = assemble("x", "", ImageConfig(base=said), layers(*range(len(records))), records)
    assert image.base == wanted


def flaw(ident: str, *numbers: int, fixed: str = "") -> Flaw:
    return Flaw(ident, (ident,), "deb", "openssl", "3.0", layers=numbers, fixed=fixed)


IMAGE = Inventory("app", "image", layers=layers(0, 140, 200), base=BaseImage("debian:12", "", 2))
FLAWS = (flaw("CVE-1", 0, fixed="3.1"), flaw("CVE-2", 1), flaw("CVE-3", 2), flaw("CVE-4", 0, 2), flaw("CVE-5"))


def test_flaws_of_a_base_are_those_of_its_layers_and_its_age_that_of_the_last() -> None:
    found = of_base(IMAGE, FLAWS, NOW)
    assert found is not None
    assert ([entry.id for entry in found.flaws], found.fixable, found.created) == (
        ["CVE-1", "CVE-2"],
        1,
        "2023-06-01T00:00:00Z",
    )
    assert found.days == 166
    assert found.sentence() == (
        "built on debian:12 (2 layers, made 2023-06-01, 166 days ago); 2 flaws from it, 1 of them with a fix; "
        "build again on a newer one (--base debian:12 tells what a newer one lacks)"
    )


@pytest.mark.parametrize(("digest", "same", "lacking"), [("sha256:0", True, []), ("sha256:9", False, ["CVE-1"])])
def test_a_base_of_the_same_layers_is_no_newer_one(digest: str, same: bool, lacking: list[str]) -> None:
    base = Inventory("debian:12", "image", layers=(Layer(digest),))
    found = of_base(IMAGE, FLAWS, NOW, newer_of("debian:12", Result(base, (flaw("CVE-2", 0),), ())))
    assert found is not None
    assert (found.same, [entry.id for entry in found.lacking]) == (same, lacking)
    assert ("there is no newer one" in found.sentence()) == same


@pytest.mark.parametrize("created", ["", "yesterday", "1970-01-01T00:00:00Z"])
def test_an_age_that_is_not_known_is_not_told(created: str) -> None:
    image = Inventory("app", "image", layers=(Layer("a", created=created), Layer("b")), base=BaseImage(layers=1))
    found = of_base(image, (), NOW)
    assert found is not None
    assert found.days is None
    assert found.sentence() == "built on a base (1 layer)"
