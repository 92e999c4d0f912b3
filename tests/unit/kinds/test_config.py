import base64

import pytest

from pilothouse.kinds.core import config_map, secret

from .trees import changed, defaulted, faults

META = {"name": "settings", "namespace": "shop"}
CONFIG = {"metadata": META, "data": {"a": "1"}}
SECRET = {"metadata": META, "type": "Opaque", "data": {"a": "MQ=="}}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_plain_values_of_a_secret_win_over_encoded_ones() -> None:
    found = defaulted(secret.KIND, {"metadata": META, "stringData": {"a": "2"}, "data": {"a": "MQ==", "b": "MQ=="}})
    assert found == {"metadata": META, "type": "Opaque", "data": {"a": _encoded("2"), "b": "MQ=="}}


@pytest.mark.parametrize(
    ("path", "value", "beginning"),
    [
        ("data", {"a/b": "1"}, 'data[a/b]: Invalid value: "a/b": a valid config key must consist of'),
        ("binaryData", {"a": "MQ=="}, 'data[a]: Invalid value: "a": duplicate of key present in binaryData'),
        ("binaryData", {"b": "?"}, "binaryData[b]: Invalid value"),
        ("data", {"a": "x" * 1048577}, "data: Too long: may not be more than 1048576 bytes"),
    ],
)
def test_config_maps(path: str, value: object, beginning: str) -> None:
    found = faults(config_map.KIND, changed(CONFIG, path, value))
    assert len(found) == 1
    assert found[0].startswith(beginning)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("kubernetes.io/tls", {"tls.crt": "MQ=="}, ["data[tls.key]: Required value"]),
        ("kubernetes.io/basic-auth", {}, ["data[username]: Required value", "data[password]: Required value"]),
        ("kubernetes.io/basic-auth", {"password": "MQ=="}, []),
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": _encoded("{}")}, []),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("Opaque", {"a": "x" * 4}, []),
        (
            "Opaque",
            {"a": "no base64"},
            ['data[a]: Invalid value: "<contents not shown>": must be base64; use stringData for plain text'],
        ),
    ],
)
def test_secrets_by_type(kind: str, data: dict[str, str], expected: list[str]) -> None:
    assert faults(secret.KIND, {**SECRET, "type": kind, "data": data}) == expected


def test_broken_registry_credentials_are_not_shown() -> None:
    tree = {**SECRET, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": _encoded("s3cret")}}
    found = faults(secret.KIND, tree)
    assert len(found) == 1
    assert "s3cret" not in found[0]


def test_the_type_of_a_secret_stays() -> None:
    assert faults(secret.KIND, {**SECRET, "type": "other"}, SECRET) == [
        'type: Invalid value: "other": field is immutable'
    ]


@pytest.mark.parametrize(("kind", "tree"), [(config_map.KIND, CONFIG), (secret.KIND, SECRET)])
def test_immutable_ones_stay_as_they_are(kind: object, tree: dict[str, object]) -> None:
    old = {**tree, "immutable": True}
    known = config_map.KIND if kind is config_map.KIND else secret.KIND
    frozen = "Forbidden: field is immutable when `immutable` is set"
    assert faults(known, {**old, "data": {"a": "Mg=="}}, old) == [f"data: {frozen}"]
    assert faults(known, tree, old) == [f"immutable: {frozen}"]
    assert faults(known, changed(old, "metadata.labels", {"a": "b"}), old) == []
