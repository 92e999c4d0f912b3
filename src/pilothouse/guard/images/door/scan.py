"""One image looked at while a pod waits: `python -m pilothouse.guard.images.door.scan FOLDER CERTS`.

A question is read as JSON on standard input, the answer written as JSON on standard output.
Layers, images and signatures that are known are not asked for again. In its own process: what it costs is over when
it is.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.door.policy import Facts
from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.fetch import Http
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.places import LAYERS, data_file
from pilothouse.guard.images.scan.beside import Asked, Beside, NotSigned, look_beside
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.scan.inventory import take_inventory
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.signed.keys import BadKey, Key, public_key
from pilothouse.guard.images.source.image import Image, host_platform
from pilothouse.guard.images.source.mirrors import endpoints
from pilothouse.guard.images.source.reference import Reference, parse
from pilothouse.guard.images.source.registry import Login, Registry

_MEMORY: Final = 2 << 30
_LARGEST_VEX: Final = 1 << 20
_MOST_VEX: Final = 16
"""VEX documents of an image."""


def answer(folder: Path, question: Question, certs: Path | None = None) -> Facts:
    """Looks at an image of a registry; `certs` is a `certs.d` of containerd."""
    cache = LayerCache(folder / LAYERS)
    try:
        return _answer(folder, question, certs, cache)
    except (NotReadable, OSError, BadKey) as error:
        return Facts((), (str(error),) if question.scan else (), unsigned=str(error) if question.keys else "")
    except MemoryError:
        reason = "it takes more memory to look at than is allowed"
        return Facts((), (reason,), unsigned=reason if question.keys else "")
    finally:
        cache.close()


def _answer(folder: Path, question: Question, certs: Path | None, cache: LayerCache) -> Facts:
    keys, voices = _keys(question.keys), _keys(question.voices)
    reference = parse(question.image)
    known = _known(cache, keys, (reference.digest,))
    if keys and known.signed_by and not question.scan and not voices:
        return known
    try:
        registry, image = _pulled(reference, Login(*(question.login or ())), certs)
    except NotReadable as error:
        # What was verified stays so while the registry is away.
        reasons = (str(error),) if question.scan else ()
        unsigned = str(error) if keys and not known.signed_by else ""
        return msgspec.structs.replace(known, reasons=reasons, unsigned=unsigned)
    digests = tuple(digest for digest in (image.digest, image.index) if digest)
    if keys and not known.signed_by:
        known = _known(cache, keys, digests)
    asked = Asked(() if known.signed_by else keys, question.sbom, bool(voices), voices)
    try:
        beside = look_beside(registry, image, asked)
    except NotSigned as error:
        return Facts(digests=digests, unsigned=error.why)
    except NotReadable as error:
        if keys and not known.signed_by:
            raise
        beside = Beside(reasons=[str(error)] if question.sbom else [], notes=[f"VEX: {error}"] if voices else [])
    else:
        if voices:
            _keep_vex(cache, digests, beside, voices)
    if beside.signed_by is not None:
        cache.put_signature(beside.signed_digest, beside.signed_by.id)
        known = Facts(signed_by=beside.signed_by.name, signed_digest=beside.signed_digest)
    facts = _scanned(folder, image, beside, cache) if question.scan else Facts()
    return msgspec.structs.replace(
        facts,
        digests=digests,
        signed_by=known.signed_by,
        signed_digest=known.signed_digest,
        vex=tuple(beside.vouched),
        unheard=tuple(beside.notes),
    )


def _keep_vex(cache: LayerCache, digests: tuple[str, ...], beside: Beside, voices: tuple[Key, ...]) -> None:
    """For the findings of what runs. Documents by keys that were not asked about this time stay: other namespaces may
    hear those."""
    large = [entry for entry in beside.vouched if len(entry.document) > _LARGEST_VEX]
    beside.notes += [f"VEX {entry.where} is longer than {_LARGEST_VEX} bytes, and not heard" for entry in large]
    few = [entry for entry in beside.vouched if entry not in large]
    beside.notes += [f"VEX {entry.where}: {_MOST_VEX} documents are heard at most" for entry in few[_MOST_VEX:]]
    beside.vouched = few[:_MOST_VEX]
    heard = {key.id for key in voices}
    for digest in digests:
        others = [entry for entry in cache.vex(digest) if entry.key not in heard]
        cache.put_vex(digest, [*beside.vouched, *others][: 2 * _MOST_VEX])


def _pulled(reference: Reference, login: Login, certs: Path | None) -> tuple[Registry, Image]:
    """The image, from the first place that has it."""
    reasons = []
    places = endpoints(certs, reference.host) if certs is not None else []
    for place in places:
        http = Http(tries=1, authorities=place.authorities, verify=place.verify)
        registry = Registry(reference, http, login, at=place.url)
        try:
            return registry, registry.image(host_platform())
        except NotReadable as error:
            reasons.append(str(error))
    if places:
        raise NotReadable("; ".join(reasons))
    registry = Registry(reference, Http(), login)
    return registry, registry.image(host_platform())


def _keys(texts: Mapping[str, str]) -> tuple[Key, ...]:
    keys = []
    for name, text in texts.items():
        try:
            keys.append(public_key(text.encode(), name))
        except BadKey as error:
            raise BadKey(f"key {name}: {error}") from error
    return tuple(keys)


def _known(cache: LayerCache, keys: tuple[Key, ...], digests: tuple[str, ...]) -> Facts:
    """What was verified before; a signature stays true."""
    names = {key.id: key.name for key in keys}
    for digest in digests:
        found = cache.signed_by(digest, list(names)) if digest else ""
        if found:
            return Facts(digests=(digest,), signed_by=names[found], signed_digest=digest)
    return Facts()


def _scanned(folder: Path, image: Image, beside: Beside, cache: LayerCache) -> Facts:
    if not data_file(folder).exists():
        return Facts((), ("there is no vulnerability data",))
    base = Base(data_file(folder))
    try:
        checked = max((feed.checked for feed in base.feeds()), default=0.0)
        inventory = cache.image(image.digest)
        if inventory is None:
            with LayerReader() as reader:
                inventory = take_inventory(image, reader, cache)
        if beside.sboms:
            said = [(document.where, sbom) for document, sbom in beside.sboms]
            for digest in {image.digest, image.index} - {""}:
                cache.put_sboms(digest, said)
        result = scanned(base, beside.told(inventory))
    finally:
        base.close()
    return Facts(result.flaws, result.not_scanned, (time.time() - checked) / 86400)


def main(arguments: list[str]) -> int:
    """Prints the answer."""
    # What an image brings along, such as an SBOM of 64 MiB, is parsed here.
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(answer(Path(arguments[0]), question, Path(arguments[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
