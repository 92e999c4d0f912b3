"""`scripts/bench scan`: what scanning costs. Needs no root, but Debian's package sources for the image it reads.

An image from Debian packages, cold and again; a data base of half a million made records; a thousand images on a few
bases, after one advisory changed; and the memory of the process that reads layers, whatever the layer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pilothouse.guard.images.data.base import FILE, Base
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.inventory.limits import GIB, MIB, Limits
from pilothouse.guard.images.live.index import Index
from pilothouse.guard.images.live.matching import Matching
from pilothouse.guard.images.match.matcher import Judged, judge
from pilothouse.guard.images.match.worker import Changed, Changes, Judge
from pilothouse.guard.images.model import Inventory, NotReadable, Package, Placed
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.archive import images_in
from pilothouse.testing.bench.report import Figure
from pilothouse.testing.images import Recipe, archive, build

_RECORDS = 500_000
_NAMES = 100_000
_IMAGES = 1_000
_BASES = 10
_LOOKUPS = 20_000
_PACKAGES = ("python3", "nginx", "redis-server", "openssl", "git", "curl", "postgresql-client", "perl", "vim-tiny")
_SCAN = "from pilothouse.cli.main import main; main()"
_TAKE = """\
import sys, time
from pathlib import Path
from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Updater
base = Base(Path(sys.argv[1]))
began = time.process_time()
for result in Updater(base, Path(sys.argv[1]).parent).from_path(Path(sys.argv[2])):
    assert not result.error, result.error
print(time.process_time() - began, *[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


def scan_figures(say: Callable[[str], None]) -> list[Figure]:
    """Measures all parts, and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="ph-bench-scan-", dir="/tmp") as name:
        folder = Path(name)
        os.environ |= {"PILOTHOUSE_VULNDB": str(folder / "db"), "XDG_CACHE_HOME": str(folder / "cache")}
        return [*_data(folder, say), *_image(folder, say), *_many(folder, say), *_bomb(say)]


def _record(number: int, fixed: str) -> bytes:
    ident = f"GHSA-{number:06x}-aaaa-bbbb"
    tree = {
        "schema_version": "1.6.0",
        "id": ident,
        "modified": "2024-01-01T00:00:00Z",
        "published": "2024-01-01T00:00:00Z",
        "aliases": [f"CVE-{2000 + number % 25}-{number}"],
        "summary": f"Improper handling {number} in package-{number % _NAMES} allows remote attackers to read files",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
        "references": [{"type": "ADVISORY", "url": f"https://github.com/advisories/{ident}"}],
        "affected": [
            {
                "package": {"ecosystem": "npm", "name": f"package-{number % _NAMES}"},
                "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }
        ],
    }
    return json.dumps(tree).encode()


def _write_lines(path: Path, changed: int = -1) -> None:
    with path.open("wb") as out:
        for number in range(_RECORDS):
            out.write(_record(number, "3.0.0" if number == changed else "2.0.0") + b"\n")


def _data(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    say(f"taking {_RECORDS} records in")
    file = folder / "osv-npm.jsonl"
    _write_lines(file)
    base_file = folder / "db" / FILE
    first, peak = _taken(base_file, file)
    say(f"taking them in again, one changed, and looking {_LOOKUPS} up")
    _write_lines(file, changed=7)
    again, _ = _taken(base_file, file)
    base = Base(base_file)
    chance = random.Random(1)
    names = [f"package-{chance.randrange(_NAMES)}" for _ in range(_LOOKUPS)]
    began = time.perf_counter()
    found = sum(len(base.lookup("npm", name)) for name in names)
    looked = time.perf_counter() - began
    base.close()
    label = f"{_RECORDS} records"
    return [
        Figure(f"{label}: first taken in, CPU", first, "s", note=f"{_RECORDS / first:.0f} records/s"),
        Figure(f"{label}: again, one changed, CPU", again, "s"),
        Figure(f"{label}: memory at most", peak, "MB"),
        Figure(f"{label}: data base", base_file.stat().st_size / 1e6, "MB"),
        Figure(f"{label}: look-ups", _LOOKUPS / looked, "/s", note=f"{found / _LOOKUPS:.1f} advisories each"),
    ]


def _taken(base_file: Path, file: Path) -> tuple[float, float]:
    """Seconds of CPU, and megabytes at most."""
    words = [sys.executable, "-c", _TAKE, str(base_file), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak) / 1024


def _image(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    say("building and scanning an image")
    built = build(Recipe(packages=_PACKAGES))
    file = folder / "image.tar"
    file.write_bytes(archive(built, "bench/image:1"))
    size = sum(image.layers[0].size for image in images_in(file, "linux/amd64", Limits())) / 1e6
    with LayerReader() as reader:
        (image,) = images_in(file, "linux/amd64", Limits())
        plain = reader.read(lambda: image.blob(image.layers[0])).size / 1e6
        peak = _peak_of_children()
    say("scanning it, cold and again")
    tracker = folder / "tracker.json"
    release = {"status": "resolved", "fixed_version": "99", "urgency": "high"}
    tracker.write_text(json.dumps({"openssl": {"CVE-2024-1": {"releases": {"bookworm": release}}}}))
    base = Base(folder / "db" / FILE)
    assert not [result for result in Updater(base, folder).from_path(tracker) if result.error]
    base.close()
    cold, again = _scan(file), _scan(file)
    label = f"image of {plain:.0f} MB ({size:.0f} MB compressed)"
    return [
        Figure(f"{label}: cold, whole command", cold, "s"),
        Figure(f"{label}: again, layers known", again, "s"),
        Figure(f"{label}: memory of the process that reads it, at most", peak, "MB"),
    ]


def _scan(file: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _SCAN, "scan", str(file), "-o", "json"], capture_output=True, text=True
    )
    took = time.perf_counter() - began
    assert "CVE-2024-1" in done.stdout, done.stderr
    return took


def _many(folder: Path, say: Callable[[str], None]) -> list[Figure]:
    say(f"{_IMAGES} images on {_BASES} bases")
    index = Index()
    for number in range(_IMAGES):
        shared = [f"package-{number % _BASES * 250 + n}" for n in range(250)]
        own = [f"package-{5000 + number * 50 + n}" for n in range(50)]
        placed = tuple(Placed(Package("npm", name, "1.0.0"), 0) for name in (*shared, *own))
        index.add(str(number), Inventory(str(number), "image", packages=placed))
    base_file = folder / "db" / FILE
    base = Base(base_file)
    say(f"judging {len(index.all_keys())} packages")
    began = time.process_time()
    for key in index.unanswered():
        index.answer(key, judge(base, key[1], key[0]))
    full = time.process_time() - began
    generation = base.generation()
    (folder / "one").mkdir()
    (folder / "one" / "GHSA.json").write_bytes(_record(_NAMES * (_RECORDS // _NAMES + 1) + 42, "5.0.0"))
    assert not [result for result in Updater(base, folder).from_path(folder / "one") if result.error]
    base.close()
    say("one advisory changed")
    cpu = time.process_time()
    known, took, images = asyncio.run(_follow(base_file, index, generation))
    note = f"{images} images; {time.process_time() - cpu:.2f} s of CPU, the matching process not counted"
    assert images == _IMAGES // _BASES, images
    return [
        Figure(f"{_IMAGES} images: all packages judged, CPU", full, "s", note=f"{len(index.all_keys())} packages"),
        Figure(f"{_IMAGES} images: from an update to which images it is about", known, "s"),
        Figure(f"{_IMAGES} images: … and what is wrong with each of these", took, "s", 1.0, note=note),
    ]


def _peak_of_children() -> float:
    """Megabytes at most of the largest process of ours that runs; `getrusage` would count what it was forked from."""
    pids = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    texts = [Path("/proc", pid, "status").read_text() for pid in pids]
    return max(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("VmHWM")) / 1024


async def _follow(base_file: Path, index: Index, generation: int) -> tuple[float, float, int]:
    """With the matching process, its start included: seconds until the images are known, and until all is."""
    matching = Matching(base_file)
    began = time.perf_counter()
    changed = await matching.ask(Changes(generation), Changed)
    keys = index.affected(changed.packages or ())
    images: set[str] = set()
    for key, judged in zip(keys, await matching.ask(Judge(keys), list[Judged])):
        images |= index.answer(key, judged)
    known = time.perf_counter() - began
    for image in images:
        index.flaws(image)
    took = time.perf_counter() - began
    await matching.close()
    return known, took, len(images)


def _bomb(say: Callable[[str], None]) -> list[Figure]:
    say("a bomb")

    def zeros() -> Iterator[bytes]:
        press = zlib.compressobj(9, zlib.DEFLATED, 31)
        head = b"zeros".ljust(100, b"\0") + b"0000644\0" * 3 + b"77777777777\0" + b"0" * 11 + b"\0" + b" " * 8 + b"0"
        head = head.ljust(512, b"\0")
        head = head[:148] + f"{sum(head):06o}\0 ".encode() + head[156:]
        yield press.compress(head) + press.flush(zlib.Z_FULL_FLUSH)
        block = press.compress(bytes(MIB)) + press.flush(zlib.Z_FULL_FLUSH)
        for _ in range(4 * GIB // MIB):
            yield block

    began = time.perf_counter()
    with LayerReader() as reader:
        try:
            reader.read(zeros)
            raise AssertionError("a bomb was read")
        except NotReadable as error:
            if "bomb" not in str(error):
                raise
        took = time.perf_counter() - began
        peak = _peak_of_children()
    return [
        Figure("gigabytes of zeros: refused after", took, "s"),
        Figure("gigabytes of zeros: memory of the process that reads them, at most", peak, "MB"),
    ]
