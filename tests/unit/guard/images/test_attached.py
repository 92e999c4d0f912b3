"""What a registry with the referrers API keeps beside an image."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from known_layers import sha256
from test_registry import _Registry, opened

from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.attached import Attached, attached, readable

IMAGE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KIND = "application/vnd.cyclonedx+json"


@pytest.fixture
def registry() -> Iterator[_Registry]:
    running = _Registry()
    yield running
    running.close()


def put(registry: _Registry, data: bytes, subject: str, name: str = "") -> dict[str, object]:
    """Puts an artefact there; its descriptor."""
    layer = {"mediaType": KIND, "digest": sha256(data), "size": len(data)}
    made = {"schemaVersion": 2, "artifactType": KIND, "config": {}, "layers": [layer]}
    manifest = json.dumps(made | ({"subject": {"digest": subject}} if subject else {})).encode()
    registry.put(name or "artefact", manifest, {sha256(data): data})
    return {"digest": sha256(manifest), "artifactType": KIND}


def listed(registry: _Registry) -> list[Attached]:
    return attached(opened(registry), IMAGE)


def read(entries: list[Attached], largest: int = 100) -> list[bytes | str]:
    return [data for _, data in readable(entries, lambda entry: entry.media_type == KIND, largest)]


def test_what_the_api_lists_is_read_and_what_refers_to_another_image_is_not(registry: _Registry) -> None:
    entries = [put(registry, b"own", IMAGE), put(registry, b"another", OTHER), put(registry, b"nobody", "")]
    registry.referrers[IMAGE] = json.dumps({"manifests": entries}).encode()
    put(registry, b"by the tag", IMAGE, IMAGE.replace(":", "-"))
    found = listed(registry)
    assert read(found) == [b"own"]
    assert (found[0].subject, found[0].artifact_type) == (IMAGE, KIND)


def test_without_the_api_the_tag_counts(registry: _Registry) -> None:
    entry = put(registry, b"own", IMAGE)
    registry.manifests[IMAGE.replace(":", "-")] = json.dumps({"manifests": [entry]}).encode()
    put(registry, b"signed", "", IMAGE.replace(":", "-") + ".att")
    assert read(listed(registry)) == [b"own", b"signed"]


def test_nothing_beside_it_is_nothing(registry: _Registry) -> None:
    assert listed(registry) == []


def test_what_is_large_or_broken_is_told_and_the_rest_is_read(registry: _Registry) -> None:
    entries = [put(registry, b"x" * 200, IMAGE), put(registry, b"spoiled", IMAGE), put(registry, b"good", IMAGE)]
    registry.blobs[sha256(b"spoiled")] = b"changed"
    registry.referrers[IMAGE] = json.dumps({"manifests": entries}).encode()
    large, spoiled, good = read(listed(registry))
    assert "is larger than" in str(large)
    assert "broken or tampered with" in str(spoiled)
    assert good == b"good"


def test_no_more_than_so_many_are_looked_at(registry: _Registry) -> None:
    entries = [put(registry, b"%d" % number, IMAGE) for number in range(100)]
    registry.referrers[IMAGE] = json.dumps({"manifests": entries}).encode()
    assert len(listed(registry)) == 64


def test_a_list_that_is_none_is_told(registry: _Registry) -> None:
    registry.referrers[IMAGE] = b"[]"
    with pytest.raises(NotReadable, match="its referrers is no JSON object"):
        listed(registry)
    registry.referrers[IMAGE] = json.dumps({"manifests": [{"digest": "md5:1"}]}).encode()
    with pytest.raises(NotReadable, match="has no proper digest"):
        listed(registry)
