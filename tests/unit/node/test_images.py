"""Image references, credentials, and which images go when the disk fills."""

from __future__ import annotations

import base64
import json

import pytest

from pilothouse.kinds.core.secret import Secret
from pilothouse.node.images.collect import Stored, to_remove
from pilothouse.node.images.credentials import credentials_for
from pilothouse.node.images.reference import InvalidImageName, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ("[fd00::1]:5000/a/b:c", "[fd00::1]:5000/a/b:c"),
        (f"reg.io/app@{DIGEST}", f"reg.io/app@{DIGEST}"),
        (f"reg.io/app:1@{DIGEST}", f"reg.io/app:1@{DIGEST}"),
    ],
)
def test_references(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("nginx", ("registry-1.docker.io", 443)),
        ("reg.io/app", ("reg.io", 443)),
        ("127.0.0.1:5000/app", ("127.0.0.1", 5000)),
        ("[fd00::1]:5000/app", ("fd00::1", 5000)),
        ("[fd00::1]/app", ("fd00::1", 443)),
    ],
)
def test_where_a_registry_is(text: str, endpoint: tuple[str, int]) -> None:
    assert parse(text).endpoint == endpoint


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "reg.io/", "app:", "app@sha256:12", "-x", "foo:bar/baz", "reg.io:x/a"]
)
def test_texts_that_name_no_image(text: str) -> None:
    with pytest.raises(InvalidImageName, match="invalid reference format"):
        parse(text)


def secret(auths: dict[str, str]) -> Secret:
    entries = {server: {"auth": base64.b64encode(f"{user}:pw".encode()).decode()} for server, user in auths.items()}
    data = base64.b64encode(json.dumps({"auths": entries}).encode()).decode()
    return Secret(data={".dockerconfigjson": data})


def users(image: str, *secrets: Secret) -> list[str]:
    return [credential.username for credential in credentials_for(parse(image), secrets)]


def test_credentials_of_the_longest_path_come_first() -> None:
    held = secret({"reg.io": "all", "https://reg.io/team": "team", "other.io": "other", "reg.io/teammates": "mates"})
    assert users("reg.io/team/app", held) == ["team", "all"]
    assert users("reg.io/app", held) == ["all"]
    assert users("none.io/app", held) == []


def test_docker_hub_has_many_names() -> None:
    assert users("nginx", secret({"https://index.docker.io/v1/": "hub"})) == ["hub"]


def test_unreadable_secrets_are_passed_over() -> None:
    assert users("nginx", Secret(data={".dockerconfigjson": "!!"}), Secret(data={})) == []


def test_images_go_by_last_use_until_the_disk_has_room() -> None:
    images = [
        Stored("used", 30),
        Stored("old", 10),
        Stored("new", 10),
        Stored("older", 4),
        Stored("pause", 1, pinned=True),
    ]
    last_used = {"old": 200.0, "new": 300.0, "older": 100.0}
    assert to_remove(images, {"used"}, last_used, 100, 90, 1000.0) == ["older", "old"]
    assert to_remove(images, {"used"}, last_used, 100, 84, 1000.0) == []
    assert to_remove(images, {"used"}, last_used, 100, 90, 310.0) == ["older"]
