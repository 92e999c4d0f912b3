"""Signatures, SBOMs and VEX documents beside images in a real registry on loopback; keys are made by the test."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from known_layers import DEBIAN, image_files, sha256, status, tar_of

from pilothouse.cli.scan import ScanOptions, run_scan
from pilothouse.cli.vulndb import run_update
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import Facts
from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.door.scan import answer
from pilothouse.guard.images.match.vex import Statements, named, statements_of
from pilothouse.guard.images.places import LAYERS
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.testing.images import Image, push
from pilothouse.testing.registry import registry_on_loopback

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
EMPTY = b"{}"


class Signer:
    """A key pair."""

    def __init__(self, kind: str = "ecdsa") -> None:
        makers = {
            "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
            "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
        }
        self._key: Any = makers[kind]()

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return bytes(self._key.sign(data))

    def pem(self) -> bytes:
        """The public key."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return bytes(self._key.public_key().public_bytes(serialization.Encoding.PEM, form))

    def public(self, file: Path) -> str:
        """Writes the public key."""
        file.write_bytes(self.pem())
        return str(file)

    def private(self, file: Path) -> str:
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write_bytes(self._key.private_bytes(serialization.Encoding.PEM, form, none))
        return str(file)

    def envelope(self, statement: dict[str, Any]) -> dict[str, Any]:
        """A DSSE envelope."""
        payload, kind = json.dumps(statement).encode(), b"application/vnd.in-toto+json"
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        signatures = [{"keyid": "", "sig": text(self.sign(signed))}]
        return {"payloadType": kind.decode(), "payload": text(payload), "signatures": signatures}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def statement(digest: str, predicate_type: str, predicate: object) -> dict[str, Any]:
    algorithm, _, value = digest.partition(":")
    subject = [{"name": "app", "digest": {algorithm: value}}]
    kind = "https://in-toto.io/Statement/v1"
    return {"_type": kind, "subject": subject, "predicateType": predicate_type, "predicate": predicate}


def payload(digest: str, kind: str = "cosign container image signature") -> bytes:
    identity = {"docker-reference": "elsewhere.example/app"}
    critical = {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


class Repository:
    """One repository of the registry."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._refers: dict[str, list[dict[str, Any]]] = {}

    def name(self, tag: str) -> str:
        return f"{self._registry}/team/app:{tag}"

    def put(self, tag: str, manifest: bytes, blobs: dict[str, bytes]) -> str:
        push(Image(manifest, blobs), self._registry, "team/app", tag)
        return sha256(manifest)

    def image(self, tag: str, version: str = "1.0-1") -> str:
        layer = tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("redis", version, ""))})
        return self.put(tag, *image_files([layer], {"User": "1000"}))

    def artefact(
        self, tag: str, data: bytes, media_type: str, annotations: dict[str, str] | None = None, **more: Any
    ) -> bytes:
        """A manifest with one layer, under a tag."""
        layer = {"mediaType": media_type, "digest": sha256(data), "size": len(data), "annotations": annotations or {}}
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(EMPTY), "size": len(EMPTY)}
        made = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], **more}
        manifest = json.dumps(made).encode()
        self.put(tag, manifest, {sha256(data): data, sha256(EMPTY): EMPTY})
        return manifest

    def sign(self, signer: Signer, image: str, data: bytes | None = None, signed: bytes | None = None) -> None:
        """As cosign does by tag. `signed` are the bytes that the signature is over, when they are others."""
        data = data or payload(image)
        signature = text(signer.sign(signed or data))
        tag = image.replace(":", "-") + ".sig"
        self.artefact(tag, data, SIMPLE, {"dev.cosignproject.cosign/signature": signature})

    def attest(self, signer: Signer, image: str, said: dict[str, Any]) -> None:
        """As `cosign attest` does by tag."""
        envelope = json.dumps(signer.envelope(said)).encode()
        annotations = {"dev.cosignproject.cosign/signature": "", "predicateType": said["predicateType"]}
        self.artefact(image.replace(":", "-") + ".att", envelope, ENVELOPE, annotations)

    def refer(self, image: str, data: bytes, media_type: str) -> None:
        """As a referrer, in the index that stands in for the API this registry has not."""
        subject = {"mediaType": MANIFEST, "digest": image, "size": 1}
        manifest = self.artefact("artefact", data, media_type, artifactType=media_type, subject=subject)
        entry = {"mediaType": MANIFEST, "digest": sha256(manifest), "size": len(manifest), "artifactType": media_type}
        entries = self._refers.setdefault(image, [])
        entries.append(entry)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        self.put_index(image.replace(":", "-"), index)

    def put_index(self, tag: str, index: dict[str, Any]) -> str:
        import http.client

        connection = http.client.HTTPConnection(self._registry, timeout=30)
        data = json.dumps(index).encode()
        for reference in (tag, sha256(data)):
            connection.request("PUT", f"/v2/team/app/manifests/{reference}", data, {"Content-Type": INDEX})
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
        connection.close()
        return sha256(data)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry_on_loopback(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def repository(registry: str) -> Repository:
    return Repository(registry)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has a flaw, and so has django."""
    monkeypatch.setenv("PILOTHOUSE_VULNDB", str(tmp_path / "vulndb"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    release = {"status": "resolved", "fixed_version": "2.0-1", "urgency": "high"}
    (tmp_path / "tracker.json").write_text(json.dumps({"redis": {"CVE-1": {"releases": {"bookworm": release}}}}))
    affected = {
        "package": {"ecosystem": "PyPI", "name": "django"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9"}]}],
    }
    records = [{"id": "CVE-2", "affected": [affected]}, {"id": "CVE-3", "affected": []}]
    (tmp_path / "osv-PyPI.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    assert run_update(str(tmp_path / "tracker.json"), "") == 0
    assert run_update(str(tmp_path / "osv-PyPI.jsonl"), "") == 0


@pytest.fixture
def scan(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*targets: str, **options: Any) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = run_scan(list(targets), ScanOptions(output="json", fail_on="none", **options))
        out = capsys.readouterr()
        tree = json.loads(out.out)
        reasons = "; ".join(entry["reason"] for entry in tree["unread"])
        return code, (tree["subjects"] or [{}])[0], reasons

    return run


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_a_signature_by_one_of_the_keys_is_verified(
    repository: Repository, scan: Any, tmp_path: Path, kind: str
) -> None:
    signer, other = Signer(kind), Signer()
    repository.sign(signer, repository.image(kind, f"1.0-{kind}"))
    keys = (other.public(tmp_path / "other.pub"), signer.public(tmp_path / "release.pub"))
    code, subject, reasons = scan(repository.name(kind), verify_keys=keys)
    assert (code, reasons, subject["signedBy"]) == (0, "", "release.pub")
    assert subject["notes"][0].startswith("signed by release.pub (sha256:")


def test_a_bundle_that_refers_to_the_image_or_to_its_index_is_verified(
    repository: Repository, scan: Any, tmp_path: Path
) -> None:
    signer = Signer()
    keys = (signer.public(tmp_path / "key.pub"),)
    image = repository.image("bundled", "1.0-2")
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": MANIFEST, "digest": image, "size": len(b"x"), "platform": platform}
    index = repository.put_index("index", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    said = statement(index, "https://sigstore.dev/cosign/sign/v1", {})
    material = {"publicKey": {"hint": "x"}}
    bundle = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": signer.envelope(said)}
    repository.refer(index, json.dumps(bundle).encode(), BUNDLE)
    assert scan(repository.name("index"), verify_keys=keys, platform="linux/amd64")[0] == 0
    code, _, reasons = scan(repository.name("bundled"), verify_keys=keys)
    assert code == 2, "by itself it was not signed"
    assert "it has no signature in its registry" in reasons


def signed_by_another(repository: Repository, signer: Signer, image: str) -> None:
    repository.sign(Signer(), image)


def changed_afterwards(repository: Repository, signer: Signer, image: str) -> None:
    repository.sign(signer, image, signed=payload(image) + b" ")


def replayed(repository: Repository, signer: Signer, image: str) -> None:
    repository.sign(signer, image, payload("sha256:" + "0" * 64))


def of_another_kind(repository: Repository, signer: Signer, image: str) -> None:
    repository.sign(signer, image, payload(image, "atomic container signature"))


def no_json(repository: Repository, signer: Signer, image: str) -> None:
    repository.sign(signer, image, b"signed text")


def an_attestation_only(repository: Repository, signer: Signer, image: str) -> None:
    said = statement(image, "https://cyclonedx.org/bom", {})
    bundle = {"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": signer.envelope(said)}
    repository.refer(image, json.dumps(bundle).encode(), BUNDLE)


def keyless(repository: Repository, signer: Signer, image: str) -> None:
    said = statement(image, "https://sigstore.dev/cosign/sign/v1", {})
    material = {"certificate": {"rawBytes": "AA=="}}
    bundle = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": Signer().envelope(said)}
    repository.refer(image, json.dumps(bundle).encode(), BUNDLE)


def a_bundle_replayed(repository: Repository, signer: Signer, image: str) -> None:
    said = statement("sha256:" + "0" * 64, "https://sigstore.dev/cosign/sign/v1", {})
    bundle = {"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": signer.envelope(said)}
    repository.refer(image, json.dumps(bundle).encode(), BUNDLE)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (signed_by_another, "it was not made by key.pub"),
        (changed_afterwards, "it was not made by key.pub, or not over this payload"),
        (replayed, "key key.pub signed another image (sha256:0000"),
        (of_another_kind, "it is no signature of an image"),
        (no_json, "is no JSON"),
        (an_attestation_only, "it has no signature in its registry"),
        (keyless, "it is keyless"),
        (a_bundle_replayed, "key key.pub signed another image (sha256:0000"),
    ],
)
def test_what_is_no_signature_of_the_image_is_refused_with_the_reason(
    repository: Repository, scan: Any, tmp_path: Path, prepare: Any, reason: str
) -> None:
    signer = Signer()
    tag = prepare.__name__
    prepare(repository, signer, repository.image(tag, f"1.0-{tag}"))
    code, subject, reasons = scan(repository.name(tag), verify_keys=(signer.public(tmp_path / "key.pub"),))
    assert (code, subject) == (2, {})
    assert reason in reasons


def test_keys_that_cannot_be_used_and_targets_that_cannot_be_signed(
    repository: Repository, scan: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("nothing")
    bad = {
        Signer().private(tmp_path / "cosign.key"): "private key",
        Signer("p384").public(tmp_path / "p384.pub"): "P-256 is verified",
        Signer("rsa1024").public(tmp_path / "rsa.pub"): "2048 are the least",
        str(tmp_path / "text"): "no public key",
        str(tmp_path / "absent"): "No such file",
    }
    for file, reason in bad.items():
        with pytest.raises(typer.Exit) as ended:
            scan(repository.name("any"), verify_keys=(file,))
        assert ended.value.exit_code == 2
        assert reason in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    good = Signer().public(tmp_path / "good.pub")
    assert "kept in a registry" in scan(str(tmp_path / "folder"), verify_keys=(good,))[2]


def bom(*urls: str) -> dict[str, Any]:
    components = [{"type": "library", "name": "x", "purl": url} for url in urls]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}


SPDX = {
    "spdxVersion": "SPDX-2.3",
    "packages": [
        {"name": "django", "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:pypi/django@4.2"}]}
    ],
}
DJANGO = "pkg:pypi/django@4.2"


def as_an_artefact(repository: Repository, image: str) -> None:
    data = json.dumps(bom(DJANGO, "pkg:deb/debian/redis@1.0-1?distro=debian-12")).encode()
    repository.refer(image, data, "application/vnd.cyclonedx+json")


def as_cosigns_tag(repository: Repository, image: str) -> None:
    repository.artefact(image.replace(":", "-") + ".sbom", json.dumps(SPDX).encode(), "text/spdx+json")


def as_an_attestation(repository: Repository, image: str) -> None:
    repository.attest(Signer(), image, statement(image, "https://spdx.dev/Document", SPDX))


@pytest.mark.parametrize("attach", [as_an_artefact, as_cosigns_tag, as_an_attestation])
def test_packages_that_only_an_attached_sbom_names_are_looked_up(
    repository: Repository, scan: Any, attach: Any
) -> None:
    tag = attach.__name__
    attach(repository, repository.image(tag, "1.0-1" if attach is as_an_artefact else f"1.0-{tag}"))
    code, subject, _ = scan(repository.name(tag), sbom=("attached",))
    assert (code, {flaw["id"] for flaw in subject["vulnerabilities"]}) == (0, {"CVE-1", "CVE-2"})
    assert "1 of them not found in the image" in subject["notes"][0]
    assert {flaw["id"] for flaw in scan(repository.name(tag))[1]["vulnerabilities"]} == {"CVE-1"}


def test_an_sbom_in_the_index_as_buildkit_puts_it_there(repository: Repository, scan: Any) -> None:
    image = repository.image("built", "1.0-3")
    said = json.dumps(statement(image, "https://spdx.dev/Document", SPDX)).encode()
    kind = {"in-toto.io/predicate-type": "https://spdx.dev/Document"}
    attestation = repository.artefact("attestation", said, "application/vnd.in-toto+json", kind)
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image}
    platform = {"os": "linux", "architecture": "amd64"}
    entries = [
        {"mediaType": MANIFEST, "digest": image, "size": 1, "platform": platform},
        {"mediaType": MANIFEST, "digest": sha256(attestation), "size": 1, "annotations": about},
    ]
    repository.put_index("built", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    _, subject, _ = scan(repository.name("built"), sbom=("attached",), platform="linux/amd64")
    assert {flaw["id"] for flaw in subject["vulnerabilities"]} == {"CVE-1", "CVE-2"}


def test_an_sbom_that_says_nothing_of_the_image_is_no_clean_bill(repository: Repository, scan: Any) -> None:
    repository.image("none", "1.0-4")
    code, subject, _ = scan(repository.name("none"), sbom=("attached",))
    assert (code, subject["notScanned"]) == (3, ["no SBOM is attached to it"])
    empty = repository.image("empty", "1.0-5")
    repository.refer(empty, json.dumps(bom()).encode(), "application/vnd.cyclonedx+json")
    code, subject, _ = scan(repository.name("empty"), sbom=("attached",))
    assert code == 3
    assert "no package with a package URL" in subject["notScanned"][0]
    other = repository.image("other", "1.0-6")
    said = statement("sha256:" + "0" * 64, "https://spdx.dev/Document", SPDX)
    repository.attest(Signer(), other, said)
    code, subject, _ = scan(repository.name("other"), sbom=("attached",))
    assert code == 3
    assert "it is about another image (sha256:000" in subject["notScanned"][0]


def test_an_sbom_given_as_a_file_is_looked_up_with_the_image(repository: Repository, scan: Any, tmp_path: Path) -> None:
    repository.image("given", "1.0-7")
    file = tmp_path / "bom.json"
    file.write_text(json.dumps(bom(DJANGO)))
    _, subject, _ = scan(repository.name("given"), sbom=(str(file),))
    assert {flaw["id"] for flaw in subject["vulnerabilities"]} == {"CVE-1", "CVE-2"}
    assert subject["notes"] == [
        f"SBOM {file}: 1 packages, 1 of them not found in the image; it lacks 1 that were found"
    ]
    file.write_text(json.dumps(bom()))
    assert scan(repository.name("given"), sbom=(str(file),))[0] == 2


def test_an_attached_vex_document_counts_when_a_key_vouches_for_it(
    repository: Repository, scan: Any, tmp_path: Path
) -> None:
    signer = Signer()
    keys = (signer.public(tmp_path / "key.pub"),)
    said = {"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "justification": "component_not_present"}
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    document = head | {"statements": [said]}
    for tag, author in (("vouched", signer), ("unvouched", Signer())):
        image = repository.image(tag, f"1.0-{tag}")
        repository.sign(signer, image)
        repository.attest(author, image, statement(image, "https://openvex.dev/ns", document))
    _, subject, _ = scan(repository.name("vouched"), vex=("attached",), verify_keys=keys)
    assert subject["vulnerabilities"] == []
    assert "signed by key.pub" in subject["silenced"][0]["place"]
    _, subject, _ = scan(repository.name("unvouched"), vex=("attached",), verify_keys=keys)
    assert [flaw["id"] for flaw in subject["vulnerabilities"]] == ["CVE-1"]
    assert "is not signed by key.pub, and not heard" in subject["notes"][-1]
    with pytest.raises(typer.Exit):
        scan(repository.name("vouched"), vex=("attached",))


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    """Asks as the door's process does."""

    def run(image: str, *keys: str, **more: Any) -> Facts:
        texts = {Path(key).name: Path(key).read_text() for key in keys}
        return answer(tmp_path / "vulndb", Question(image, texts, **more))

    return run


def test_the_door_verifies_once_and_keeps_it_by_digest(repository: Repository, ask: Any, tmp_path: Path) -> None:
    signer, other = Signer(), Signer()
    key, another = signer.public(tmp_path / "key.pub"), other.public(tmp_path / "another.pub")
    image = repository.image("door", "1.0-8")
    unsigned = ask(repository.name("door"), key, scan=False)
    assert unsigned.signed_by == ""
    assert "it has no signature in its registry" in unsigned.unsigned
    repository.sign(signer, image)
    facts = ask(repository.name("door"), key)
    assert (facts.signed_by, facts.signed_digest) == ("key.pub", image)
    assert [flaw.id for flaw in facts.flaws] == ["CVE-1"]
    repository.sign(other, image)  # takes the place of the other's signature
    assert ask(repository.name("door"), key, scan=False).signed_by == "key.pub", "it was verified before"
    elsewhere = f"127.0.0.1:1/team/app@{image}"
    assert ask(elsewhere, key, scan=False).signed_by == "key.pub", "without a registry"
    away = ask(elsewhere, key)
    assert (away.signed_by, away.unsigned) == ("key.pub", "")
    assert "cannot be reached" in away.reasons[0]
    assert ask(elsewhere, another, scan=False).signed_by == ""
    assert ask(repository.name("door"), another, scan=False).signed_by == "another.pub"
    (tmp_path / "no.pub").write_text("no key")
    assert "key no.pub: no public key" in ask(repository.name("door"), str(tmp_path / "no.pub")).unsigned


def test_an_attached_sbom_is_kept_for_the_engine(repository: Repository, ask: Any, tmp_path: Path) -> None:
    image = repository.image("kept", "1.0-9")
    repository.refer(image, json.dumps(bom(DJANGO)).encode(), "application/vnd.cyclonedx+json")
    assert {flaw.id for flaw in ask(repository.name("kept"), sbom=True).flaws} == {"CVE-1", "CVE-2"}
    cache = LayerCache(tmp_path / "vulndb" / LAYERS)
    ((_, said),) = cache.sboms(image)
    cache.close()
    assert [placed.package.name for placed in said.packages] == ["django"]
    assert "no SBOM is attached" in ask(repository.name("door"), sbom=True).reasons[0]


async def test_the_doors_process_answers(repository: Repository, tmp_path: Path) -> None:
    signer = Signer()
    key = signer.pem().decode()
    image = repository.image("process", "1.0-10")
    repository.sign(signer, image)
    door = Door(tmp_path / "vulndb", tmp_path / "certs", deadline=60.0)
    asked = Question(repository.name("process"), {"release": key})
    facts = await door.facts(asked)
    assert (facts.signed_by, facts.signed_digest, [flaw.id for flaw in facts.flaws]) == ("release", image, ["CVE-1"])
    assert await door.facts(asked) is facts, "kept for a while"
    under = Question(f"{repository.name('process')}@{image}", {"release": key})
    door.same(asked, under)
    assert await door.facts(under) is facts


def openvex(flaw: str, **more: Any) -> dict[str, Any]:
    said = {"vulnerability": {"name": flaw}, "status": "not_affected", "justification": "component_not_present", **more}
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Acme", "timestamp": "2024-05-01T00:00:00Z"}
    return head | {"statements": [said]}


def test_attached_vex_that_a_named_key_vouches_for_is_kept_for_the_engine(
    repository: Repository, ask: Any, tmp_path: Path
) -> None:
    """The image need not be signed, and the document may mean the index that the image is in."""
    security, stranger = Signer(), Signer()
    voices = {"security": security.pem().decode()}
    image = repository.image("heard", "1.0-10")
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": MANIFEST, "digest": image, "size": len(b"x"), "platform": platform}
    index = repository.put_index("heard-index", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})

    def attach(signer: Signer, flaw: str) -> None:
        document = openvex(flaw, products=[{"@id": f"pkg:oci/app@{index}"}])
        repository.attest(signer, index, statement(index, "https://openvex.dev/ns/v0.2.0", document))

    def kept() -> list[tuple[str, ...]]:
        cache = LayerCache(tmp_path / "vulndb" / LAYERS)
        found = [cache.vex(digest) for digest in (image, index)]
        cache.close()
        assert found[0] == found[1]
        return [tuple(sorted(name for said in statements_of(entry) for name in said.names)) for entry in found[0]]

    attach(stranger, "CVE-1")
    unheard = ask(repository.name("heard-index"), voices=voices)
    assert (unheard.vex, kept()) == ((), [])
    assert "is not signed by security, and not heard" in unheard.unheard[0]
    attach(security, "CVE-1")
    facts = ask(repository.name("heard-index"), voices=voices, scan=False)
    assert ([entry.signer for entry in facts.vex], facts.unheard, kept()) == (["security"], (), [("CVE-1",)])
    left, silenced = Statements(said for entry in facts.vex for said in statements_of(entry)).split(
        unheard.flaws, named("app", (image,))
    )
    assert (left, [entry.flaw.id for entry in silenced]) == ([], ["CVE-1"])
    attach(stranger, "CVE-1")  # takes its place
    assert ask(repository.name("heard-index"), voices=voices).vex == ()
    assert kept() == []
