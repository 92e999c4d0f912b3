import pytest

from pilothouse.kinds.core.pod_kind import KIND
from pilothouse.kinds.equality import changed_fields, same

from .trees import changed, faults, pod


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"hostNetwork": False}, {}, True),
        ({"hostNetwork": True}, {}, False),
        ({"ports": []}, {"ports": None}, True),
        ({"a": {"b": [{"c": ""}]}}, {"a": {"b": [{}]}}, True),
        ({"a": {"b": [{"c": ""}]}}, {"a": {"b": []}}, False),
        ({"runAsUser": 0}, {}, False),
        ({"allowPrivilegeEscalation": False}, {}, False),
        ({"storageClassName": ""}, {}, False),
        (1, 2, False),
    ],
)
def test_zero_values_may_be_left_out(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_the_fields_that_differ_are_named() -> None:
    assert changed_fields({"a": 1, "b": 0, "c": 1}, {"a": 2, "d": 1}) == ["a", "c", "d"]


def test_a_client_that_leaves_out_zero_values_changes_nothing() -> None:
    old = pod(hostNetwork=False, tolerations=[])
    old["spec"]["containers"][0]["tty"] = False
    new = changed(pod(), "metadata.finalizers", ["example.com/hold"])
    assert faults(KIND, new, old) == []
    KIND.prepare_update(new, changed(old, "metadata.generation", 1))
    assert new["metadata"]["generation"] == 1
