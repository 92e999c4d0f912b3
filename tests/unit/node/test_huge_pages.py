from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.linux.huge_pages import pools
from pilothouse.node import huge_pages
from pilothouse.node.refuse import Abilities, refusal

MIB, GIB = 1 << 20, 1 << 30


def pod(*containers: dict[str, str], medium: str = "") -> Pod:
    volumes = [{"name": "v", "emptyDir": {"medium": medium}}] if medium else []
    made = [
        {"name": f"c{number}", "image": "i", "resources": {"limits": amounts, "requests": amounts}}
        for number, amounts in enumerate(containers)
    ]
    return msgspec.convert({"metadata": {"name": "p"}, "spec": {"containers": made, "volumes": volumes}}, Pod)


def test_pools_are_read_by_size_of_page(tmp_path: Path) -> None:
    for name, count in (("hugepages-2048kB", "16"), ("hugepages-1048576kB", "1"), ("hugepages-64kB", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nr_hugepages").write_text(count)
    assert pools(tmp_path) == {2 * MIB: 32 * MIB, GIB: GIB}
    assert pools(tmp_path / "absent") == {}


def test_a_node_names_what_it_has_as_kubernetes_does() -> None:
    assert huge_pages.amounts({2 * MIB: 32 * MIB, GIB: 0, 64 << 10: 96 << 10}) == {
        "hugepages-2Mi": "32Mi",
        "hugepages-1Gi": "0",
        "hugepages-64Ki": "96Ki",
    }


def test_a_container_without_a_limit_is_held_to_none() -> None:
    (asks, other) = pod({"hugepages-2Mi": "8Mi"}, {"cpu": "1"}).spec.containers
    sizes = (2 * MIB, GIB)
    assert list(huge_pages.limits(asks, sizes)) == [("2MB", 8 * MIB), ("1GB", 0)]
    assert list(huge_pages.limits(other, sizes)) == [("2MB", 0), ("1GB", 0)]


@pytest.mark.parametrize(
    ("medium", "containers", "expected"),
    [
        ("HugePages", [{"hugepages-2Mi": "4Mi"}, {"cpu": "1"}], 2 * MIB),
        ("HugePages-1Gi", [{"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}], GIB),
        ("HugePages", [{"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}], "sizes (hugepages-1Gi, hugepages-2Mi)"),
        ("HugePages", [{"cpu": "1"}], "asks for no huge pages"),
        ("HugePages-1Gi", [{"hugepages-2Mi": "4Mi"}], "no container requests hugepages-1Gi"),
    ],
)
def test_which_pages_a_volume_is_made_of(medium: str, containers: list[dict[str, str]], expected: Any) -> None:
    made = pod(*containers)
    if isinstance(expected, int):
        assert huge_pages.page_size(medium, made) == expected
        return
    with pytest.raises(huge_pages.NoSuchPages) as raised:
        huge_pages.page_size(medium, made)
    assert expected in str(raised.value)


def test_what_this_host_cannot_bound_is_refused() -> None:
    made = pod({"hugepages-2Mi": "4Mi"}, medium="HugePages")
    assert refusal(made, Abilities(huge_pages=(2 * MIB,))) is None
    for asks in (made, pod({"hugepages-2Mi": "4Mi"})):
        refused = refusal(asks, Abilities(huge_pages=(GIB,)))
        assert refused is not None
        assert "no hugetlb controller" in refused.message
    unclear = refusal(pod({"cpu": "1"}, medium="HugePages"), Abilities(huge_pages=(2 * MIB,)))
    assert unclear is not None
    assert unclear.reason == "InvalidHugePages"
