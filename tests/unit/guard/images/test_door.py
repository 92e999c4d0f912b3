from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from known_layers import DEBIAN, image_files, status, tar_of
from test_registry import _Registry

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.client.wire import User
from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import BadPolicy, Facts, of_facts, of_name, policy_of
from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.door.scan import answer
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.vex import Vouched
from pilothouse.guard.images.places import data_file
from pilothouse.guard.images.source.reference import parse
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.launch.image_door import ImageDoor
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj, Resource

PREFIX = "images.guard.pilothouse.dev/"


def flaw(ident: str, severity: str, fixed: str = "", kev: str = "") -> Flaw:
    return Flaw(ident, (ident,), "deb", "redis", "1.0", severity=severity, fixed=fixed, kev=kev)


def against(facts: Facts, **settings: str) -> list[str]:
    policy = policy_of({PREFIX + key.replace("_", "-"): value for key, value in settings.items()})
    assert policy is not None
    return of_facts(policy, facts)[0]


@pytest.mark.parametrize(
    ("facts", "settings", "refused"),
    [
        (Facts((flaw("CVE-1", "high", "2.0"),)), {"severity": "high"}, True),
        (Facts((flaw("CVE-1", "medium", "2.0"),)), {"severity": "high"}, False),
        (Facts((flaw("CVE-1", "high"),)), {"severity": "high"}, False),
        (Facts((flaw("CVE-1", "high"),)), {"severity": "high", "unfixed": "refuse"}, True),
        (Facts((flaw("CVE-1", "low", kev="2024"),)), {"known_exploited": "refuse"}, True),
        (Facts((flaw("CVE-1", "critical", "2"),)), {"known_exploited": "refuse"}, False),
        (Facts((), ("unknown",)), {"severity": "high"}, False),
        (Facts((), ("unknown",)), {"not_scanned": "refuse"}, True),
        (Facts((), (), 9.0), {"data_days": "7"}, True),
        (Facts((), (), 6.0), {"data_days": "7"}, False),
    ],
)
def test_what_a_policy_refuses(facts: Facts, settings: dict[str, str], refused: bool) -> None:
    assert bool(against(facts, **settings)) is refused


@pytest.mark.parametrize(
    ("image", "settings", "refused"),
    [
        ("nginx", {"registries": "registry.example/team/*"}, True),
        ("registry.example/team/app:1", {"registries": "registry.example/team/*, docker.io/*"}, False),
        ("registry.example/teams/app:1", {"registries": "registry.example/team/*"}, True),
        ("registry.example/team/a/b:1", {"registries": "registry.example"}, False),
        ("registry.example.evil/app:1", {"registries": "registry.example"}, True),
        ("nginx:1", {"digest": "required"}, True),
        ("nginx:1@sha256:" + "a" * 64, {"digest": "required"}, False),
    ],
)
def test_names(image: str, settings: dict[str, str], refused: bool) -> None:
    policy = policy_of({PREFIX + key: value for key, value in settings.items()})
    assert policy is not None
    assert bool(of_name(policy, parse(image))) is refused


@pytest.mark.parametrize(
    "annotations",
    [
        {"severity": "awful"},
        {"digest": "yes"},
        {"data-days": "-1"},
        {"data-days": "x"},
        {"sevrity": "high"},
        {"registries": " , "},
        {"signed-by": ""},
        {"sbom": "yes"},
        {"vex-signed-by": " "},
    ],
)
def test_a_policy_that_says_nothing_sensible_is_told(annotations: dict[str, str]) -> None:
    with pytest.raises(BadPolicy, match=r"images\.guard\.pilothouse\.dev/"):
        policy_of({PREFIX + key: value for key, value in annotations.items()})
    assert policy_of({"other": "x"}) is None


class Objects:
    """One namespace."""

    def __init__(self, annotations: dict[str, str]) -> None:
        self.maps: list[Obj] = []
        self.found: dict[tuple[Resource, str, str], Obj] = {}
        self.namespace: Obj = {"metadata": {"name": "shop", "annotations": annotations}}

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        if (resource, name) == (Namespace.resource, "shop"):
            return self.namespace
        return self.found.get((resource, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return self.maps if (resource, namespace) == (ConfigMap.resource, "kube-system") else []

    def revision(self, resource: Resource) -> int:
        return len(self.maps)


class Known(Door):
    """Answers from a table, and counts."""

    def __init__(self, facts: dict[str, Facts]) -> None:
        self._facts = facts
        self.asked: list[Question] = []

    async def facts(self, question: Question) -> Facts:
        self.asked.append(question)
        return self._facts[question.image]

    def same(self, question: Question, other: Question) -> None:
        self._facts[other.image] = self._facts[question.image]


def pod(*images: str) -> Obj:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers}}


def request(made: Obj, old: Obj | None = None, resource: Resource = Pod.resource, **more: Any) -> AdmissionRequest:
    operation = "CREATE" if old is None else "UPDATE"
    return AdmissionRequest(User("u"), operation, resource, "shop", "p", object=made, old_object=old, **more)


async def test_a_pod_with_a_vulnerable_image_is_refused_with_the_fix() -> None:
    facts = {"r/bad:1": Facts((flaw("CVE-1", "critical", "2.0"),)), "r/good:1": Facts((), ("no data for npm",))}
    step = ImageDoor(Objects({PREFIX + "severity": "high"}), Known(facts))
    with pytest.raises(Forbidden) as refused:
        await step.validate(request(pod("r/good:1", "r/bad:1")))
    assert refused.value.message == (
        'pods "p" is forbidden: violates the image policy of namespace "shop": image "r/bad:1": '
        "it has flaws of severity high or worse: CVE-1 in redis 1.0 (fixed in 2.0)"
    )
    passed = request(pod("r/good:1"))
    await step.validate(passed)
    assert passed.warnings == ['image "r/good:1": it is not scanned in full: no data for npm']


async def test_what_the_clusters_vex_documents_silence_passes() -> None:
    facts = Facts((flaw("CVE-1", "critical", "2.0"),), digests=("sha256:1",))
    objects = Objects({PREFIX + "severity": "high"})
    step = ImageDoor(objects, Known({"r.example/bad:1": facts}))
    with pytest.raises(Forbidden):
        await step.validate(request(pod("r.example/bad:1")))
    statement = {"vulnerability": {"name": "CVE-1"}, "products": [{"@id": "pkg:oci/bad@sha256:1"}], "status": "fixed"}
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    data = {"vex.json": json.dumps(head | {"statements": [statement]})}
    objects.maps.append({"metadata": {"name": "x", "namespace": "kube-system"}, "data": data})
    with pytest.raises(Forbidden):
        await step.validate(request(pod("r.example/bad:1")))
    labels = {PREFIX + "vex": "acme"}
    objects.maps.append({"metadata": {"name": "y", "namespace": "kube-system", "labels": labels}, "data": data})
    await step.validate(request(pod("r.example/bad:1")))


async def test_attached_vex_counts_at_the_door_and_what_is_not_heard_is_told() -> None:
    said = {"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "justification": "component_not_present"}
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    vouched = Vouched(json.dumps(head | {"statements": [said]}).encode(), "att", (DIGEST,), "sha256:key", "security")
    flaws = (flaw("CVE-1", "critical", "2.0"),)
    facts = Facts(flaws, digests=(DIGEST,), vex=(vouched,), unheard=("VEX x is not signed by security, and not heard",))
    objects = Objects({PREFIX + "severity": "high", PREFIX + "vex-signed-by": "security, absent"})
    keys_of(objects, security="PEM", other="PEM 2")
    door = Known({"r/heard:1": facts, "r/unheard:1": Facts(flaws, digests=(DIGEST,))})
    step = ImageDoor(objects, door)
    passed = request(pod("r/heard:1"))
    await step.validate(passed)
    assert passed.warnings == [
        'image "r/heard:1": VEX x is not signed by security, and not heard',
        'image "r/heard:1": there is no key absent in ConfigMap kube-system/image-signing-keys: its VEX is not heard',
    ]
    assert [(question.keys, question.voices) for question in door.asked] == [({}, {"security": "PEM"})]
    with pytest.raises(Forbidden, match="CVE-1"):
        await step.validate(request(pod("r/unheard:1")))


DIGEST = "sha256:" + "a" * 64


def keys_of(objects: Objects, **keys: str) -> None:
    objects.found[ConfigMap.resource, "kube-system", "image-signing-keys"] = {"data": keys}


async def test_a_signed_image_is_named_by_the_digest_that_was_signed() -> None:
    objects = Objects({PREFIX + "signed-by": "release, build"})
    keys_of(objects, release="PEM 1", build="PEM 2", other="PEM 3")
    facts = {
        "r.example:1/app:1": Facts(signed_by="release", signed_digest=DIGEST),
        f"r.example:1/app@{DIGEST}": Facts(signed_by="release", signed_digest=DIGEST),
        "r.example:1/bad:1": Facts(unsigned="nobody signed it"),
    }
    door = Known(facts)
    step = ImageDoor(objects, door)
    made = request(pod("r.example:1/app:1", f"r.example:1/app@{DIGEST}"))
    await step.mutate(made)
    assert [container["image"] for container in made.object["spec"]["containers"]] == [
        f"r.example:1/app:1@{DIGEST}",
        f"r.example:1/app@{DIGEST}",
    ]
    await step.validate(made)
    assert {(*question.keys.items(), question.scan) for question in door.asked} == {
        (("release", "PEM 1"), ("build", "PEM 2"), False)
    }
    refused = request(pod("r.example:1/bad:1"))
    await step.mutate(refused)
    with pytest.raises(Forbidden, match="it is not signed by release or build: nobody signed it"):
        await step.validate(refused)


async def test_a_private_registry_is_asked_as_the_pod_may() -> None:
    objects = Objects({PREFIX + "severity": "high"})
    auths = {"auths": {"r.example/team": {"username": "puller", "password": "sesame"}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(auths).encode()).decode()}
    objects.found[Secret.resource, "shop", "pull"] = {"metadata": {"name": "pull"}, "data": data}
    door = Known({"r.example/team/app:1": Facts(), "r.example/other/app:1": Facts()})
    made = pod("r.example/team/app:1", "r.example/other/app:1")
    made["spec"]["imagePullSecrets"] = [{"name": "pull"}, {"name": "absent"}]
    await ImageDoor(objects, door).validate(request(made))
    assert {question.image: question.login for question in door.asked} == {
        "r.example/team/app:1": ("puller", "sesame"),
        "r.example/other/app:1": None,
    }


async def test_what_was_not_given_its_signed_digest_is_refused() -> None:
    """As when the signature is verified between the two steps."""
    objects = Objects({PREFIX + "signed-by": "release"})
    keys_of(objects, release="PEM")
    step = ImageDoor(objects, Known({"r.example/app:1": Facts(signed_by="release", signed_digest=DIGEST)}))
    with pytest.raises(Forbidden, match="was not verified in time; it is now, so try again"):
        await step.validate(request(pod("r.example/app:1")))


async def test_a_key_that_is_not_there_lets_nothing_in() -> None:
    objects = Objects({PREFIX + "signed-by": "release"})
    door = Known({})
    step = ImageDoor(objects, door)
    for _ in range(2):
        made = request(pod("r.example/app:1"))
        await step.mutate(made)
        with pytest.raises(Forbidden, match="no key release in ConfigMap kube-system/image-signing-keys"):
            await step.validate(made)
        keys_of(objects, other="PEM")
    assert door.asked == []


async def test_without_a_policy_on_signatures_names_stay_as_they_are() -> None:
    door = Known({"r/a:1": Facts()})
    step = ImageDoor(Objects({PREFIX + "severity": "high"}), door)
    made = request(pod("r/a:1"))
    await step.mutate(made)
    assert made.object == pod("r/a:1")
    assert door.asked == []


async def test_images_that_a_pod_has_already_and_namespaces_without_a_policy_are_not_asked_about() -> None:
    door = Known({})
    await ImageDoor(Objects({PREFIX + "severity": "high"}), door).validate(request(pod("r/a:1"), pod("r/a:1")))
    await ImageDoor(Objects({}), door).validate(request(pod("r/a:1")))
    await ImageDoor(Objects({PREFIX + "digest": "required"}), door).validate(request(pod("r/a@sha256:" + "a" * 64)))
    await ImageDoor(Objects({PREFIX + "severity": "high"}), door).validate(request(pod("r/a:1"), subresource="status"))
    assert door.asked == []


async def test_a_namespace_with_a_broken_policy_is_refused() -> None:
    step = ImageDoor(Objects({}), Known({}))
    made = {"metadata": {"name": "shop", "annotations": {PREFIX + "severity": "awful"}}}
    with pytest.raises(Forbidden, match=r"images.guard.pilothouse.dev/severity: Invalid value: 'awful'"):
        await step.validate(request(made, resource=Namespace.resource))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data about redis."""
    release = {"status": "resolved", "fixed_version": "2.0-1", "urgency": "high"}
    (tmp_path / "t.json").write_text(json.dumps({"redis": {"CVE-1": {"releases": {"bookworm": release}}}}))
    (tmp_path / "vulndb").mkdir()
    base = Base(data_file(tmp_path / "vulndb"))
    assert not [result for result in Updater(base, tmp_path).from_path(tmp_path / "t.json") if result.error]
    base.close()
    return tmp_path / "vulndb"


def test_an_image_that_nobody_has_scanned_is_scanned_at_the_door_once(folder: Path) -> None:
    registry = _Registry()
    try:
        manifest, blobs = image_files(
            [tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("redis", "1.0-1", ""))})]
        )
        registry.put("1", manifest, blobs)
        facts = answer(folder, Question(f"{registry.host}/team/app:1"))
        assert [found.id for found in facts.flaws] == ["CVE-1"]
        read = len([path for path, _ in registry.asked if "/blobs/" in path])
        assert answer(folder, Question(f"{registry.host}/team/app:1")).flaws == facts.flaws
        assert len([path for path, _ in registry.asked if "/blobs/" in path]) == read + 1, "its configuration only"
        missing = answer(folder, Question(f"{registry.host}/team/app:2"))
        assert "does not have it" in missing.reasons[0]
    finally:
        registry.close()


def test_a_registry_that_wants_a_login_gets_the_pods(folder: Path) -> None:
    registry = _Registry()
    registry.token = "secret"
    try:
        manifest, blobs = image_files([tar_of({"etc/os-release": DEBIAN})])
        registry.put("1", manifest, blobs)
        answer(folder, Question(f"{registry.host}/team/app:1", login=("puller", "sesame")))
        sent = {headers.get("Authorization") for path, headers in registry.asked if path.startswith("/token")}
        assert sent == {"Basic " + base64.b64encode(b"puller:sesame").decode()}
    finally:
        registry.close()


async def test_one_that_takes_too_long_is_not_scanned_and_goes_on(folder: Path) -> None:
    started = asyncio.Event()

    class Slow(Door):
        async def _look(self, question: bytes) -> Facts:
            started.set()
            await release.wait()
            return Facts((flaw("CVE-1", "high", "2"),))

    release = asyncio.Event()
    door = Slow(folder, folder, deadline=0.05)
    asked = Question("a", {"key": "PEM"})
    late = await door.facts(asked)
    assert "could not be looked at within" in late.reasons[0]
    assert "could not be looked at within" in late.unsigned
    assert started.is_set()
    release.set()
    door._deadline = 30.0
    first, second = await asyncio.gather(door.facts(asked), door.facts(asked))
    assert first is second
    assert first.flaws
