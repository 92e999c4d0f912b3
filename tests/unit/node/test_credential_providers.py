"""Credential helpers: which images they are asked for, what they may answer, and for how long that holds."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from pilothouse.node.images.credentials import Credential
from pilothouse.node.images.providers import InvalidProviders, Providers, load, matches
from pilothouse.node.images.reference import parse
from pilothouse.node.settings import InvalidSettings, Settings

HELPER = """\
#!/bin/sh
echo asked >> "$ASKED"
read -r request
case "$request" in *CredentialProviderRequest*) ;; *) exit 9 ;; esac
{script}
"""
ANSWER = {
    "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
    "kind": "CredentialProviderResponse",
    "cacheKeyType": "Registry",
    "cacheDuration": "1h",
    "auth": {"*.example.org": {"username": "u", "password": "p"}},
}
IMAGE = parse("registry.example.org/team/app:1")


class Helper:
    """A directory with one helper, and how often it was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = root / "asked"

    def providers(self, script: str, **changes: object) -> Providers:
        program = self.root / "helper"
        program.write_text(HELPER.format(script=script))
        program.chmod(0o755)
        provider = {
            "name": "helper",
            "matchImages": ["*.example.org"],
            "defaultCacheDuration": "0s",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "env": [{"name": "ASKED", "value": str(self.asked)}],
            **changes,
        }
        config = self.root / "config.yaml"
        head = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        config.write_text(json.dumps({**head, "providers": [provider]}))
        return load(config, self.root)

    def answering(self, **changes: object) -> Providers:
        return self.providers(f"echo '{json.dumps({**ANSWER, **changes})}'")

    @property
    def times(self) -> int:
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


async def test_an_answer_holds_for_its_time_and_its_registry(helper: Helper) -> None:
    providers = helper.answering()
    assert await providers.credentials(IMAGE) == [Credential("u", "p")]
    assert await providers.credentials(parse("registry.example.org/other")) == [Credential("u", "p")]
    assert helper.times == 1
    assert await providers.credentials(parse("other.example.org/app")) == [Credential("u", "p")]
    assert helper.times == 2
    assert await providers.credentials(parse("docker.io/app")) == []
    assert helper.times == 2


async def test_an_answer_of_no_time_is_asked_for_again(helper: Helper) -> None:
    providers = helper.answering(cacheDuration="0s")
    for _ in range(2):
        await providers.credentials(IMAGE)
    assert helper.times == 2


async def test_an_answer_for_one_image_is_no_other_images(helper: Helper) -> None:
    providers = helper.answering(cacheKeyType="Image")
    for name in ("a", "a", "b"):
        await providers.credentials(parse(f"registry.example.org/{name}"))
    assert helper.times == 2


@pytest.mark.parametrize(
    ("script", "sign"),
    [
        ("echo broken >&2; exit 3", "it ended with 3: broken"),
        ("echo nothing", "what it printed is no CredentialProviderResponse"),
        (f"echo '{json.dumps({**ANSWER, 'kind': 'Other'})}'", "it answered with"),
        (f"echo '{json.dumps({**ANSWER, 'cacheKeyType': 'Sometimes'})}'", "cacheKeyType 'Sometimes'"),
    ],
)
async def test_a_helper_that_fails_is_told_and_left_out(
    helper: Helper, script: str, sign: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="pilothouse")
    assert await helper.providers(script).credentials(IMAGE) == []
    assert sign in caplog.text


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"name": "../helper"}, "no file name"),
        ({"name": "other"}, "there is no program"),
        ({"matchImages": []}, "matchImages is empty"),
        ({"apiVersion": "v1"}, "apiVersion has to be"),
        ({"defaultCacheDuration": "soon"}, "defaultCacheDuration: 'soon' is no length of time"),
        ({"tokenAttributes": {}}, "tokenAttributes"),
        ({"args": "x"}, r"args"),
    ],
)
def test_a_wrong_configuration_is_named(helper: Helper, changes: dict[str, object], sign: str) -> None:
    with pytest.raises(InvalidProviders, match=sign):
        helper.providers("exit 0", **changes)
    settings = Settings(
        image_credential_provider_config=str(helper.root / "config.yaml"),
        image_credential_provider_bin_dir=str(helper.root),
    )
    with pytest.raises(InvalidSettings, match=r"image_credential_provider_config: .*config.yaml"):
        settings.check()


@pytest.mark.parametrize(
    ("pattern", "image", "fits"),
    [
        ("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu.amazonaws.com/app", True),
        ("*.amazonaws.com", "1.dkr.ecr.eu.amazonaws.com/app", False),
        ("registry.io:8080/path", "registry.io:8080/path/app", True),
        ("registry.io/path", "registry.io:8080/path/app", False),
        ("registry.io/other", "registry.io/path/app", False),
        ("docker.io", "nginx", True),
    ],
)
def test_patterns_match_part_by_part(pattern: str, image: str, fits: bool) -> None:
    assert matches(pattern, parse(image)) is fits
