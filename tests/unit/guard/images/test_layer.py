from __future__ import annotations

import gzip
import json
import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_layers import ALPINE, DEBIAN, jar, pom_properties, rpm_header, status, tar_of

from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.merge import ImageConfig, assemble
from pilothouse.guard.images.model import Inventory, Layer, LayerRecord


def inventory(*layers: dict[str, object]) -> Inventory:
    records = [read_layer([tar_of(layer)], Limits()) for layer in layers]  # type: ignore[arg-type]
    described = [Layer(f"sha256:{number:064}") for number in range(len(layers))]
    return assemble("app", "", ImageConfig(user="1000"), described, records)


def names(found: Inventory) -> dict[str, tuple[str, int]]:
    return {entry.package.name: (entry.package.version, entry.layer) for entry in found.packages}


def test_packages_of_debian_are_those_that_are_installed_and_traced_to_the_layer_that_brought_them() -> None:
    base = status(("openssl", "3.0.11-1", ""), ("libssl3", "3.0.11-1", "openssl"))
    later = base + b"\n" + status(("curl", "7.88.1-10+b1", "")) + b"\nPackage: gone\n"
    later += b"Status: deinstall ok config-files\nVersion: 1\n"
    found = inventory(
        {"usr/lib/os-release": DEBIAN, "etc/os-release": ("symlink", "../usr/lib/os-release")}
        | {"var/lib/dpkg/status": base},
        {"var/lib/dpkg/status": later},
    )
    assert names(found) == {"openssl": ("3.0.11-1", 0), "libssl3": ("3.0.11-1", 0), "curl": ("7.88.1-10+b1", 1)}
    assert str(found.system) == "Debian GNU/Linux 12 (bookworm)"
    curl = next(entry.package for entry in found.packages if entry.package.name == "curl")
    assert curl.source_version == "7.88.1-10"


def test_the_source_version_is_the_one_in_brackets() -> None:
    found = inventory({"var/lib/dpkg/status": status(("libgcc-s1", "12.2.0-14+deb12u1", "gcc-12 (12.2.0-14)"))})
    package = found.packages[0].package
    assert (package.source, package.source_version) == ("gcc-12", "12.2.0-14")


def test_an_image_without_a_package_manager_has_a_file_a_package() -> None:
    found = inventory(
        {
            "var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\n",
            "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\n",
            "var/lib/dpkg/status.d/base.md5sums": b"00  usr/lib/python3.11/site-packages/x-1.dist-info/METADATA\n",
            "usr/lib/python3.11/site-packages/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n\nName: no\n",
        }
    )
    assert names(found) == {"base-files": ("12.4", 0), "tzdata": ("2024a", 0)}
    assert found.owned_elsewhere == 1


def test_packages_of_alpine_name_their_origin_and_own_files() -> None:
    installed = (
        b"P:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\n\nP:py3-x\nV:1-r0\nF:usr/lib/python3.11/site-packages\n"
    )
    installed += b"F:usr/lib/python3.11/site-packages/x-1.dist-info\nR:METADATA\n"
    found = inventory(
        {
            "etc/os-release": ALPINE,
            "lib/apk/db/installed": installed,
            "usr/lib/python3.11/site-packages/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n",
        }
    )
    assert [entry.package.source for entry in found.packages] == ["openssl", "py3-x"]
    assert found.owned_elsewhere == 1


def test_packages_of_rpm_are_read_from_sqlite_and_other_forms_are_problems() -> None:
    header = rpm_header(
        {1000: (6, "openssl-libs"), 1001: (6, "3.0.7"), 1002: (6, "24.el9"), 1003: (4, [1]), 1022: (6, "x86_64")}
        | {1044: (6, "openssl-3.0.7-24.el9.src.rpm"), 1116: (4, [0]), 1117: (8, ["METADATA"])}
        | {1118: (8, ["/usr/lib/python3.9/site-packages/x-1.dist-info/"])}
    )
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    base.execute("INSERT INTO Packages VALUES (1, ?)", (header,))
    base.commit()
    found = inventory(
        {
            "var/lib/rpm/rpmdb.sqlite": base.serialize(),
            "usr/lib/python3.9/site-packages/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n",
        }
    )
    package = found.packages[0].package
    assert (package.name, package.version, package.source) == ("openssl-libs", "1:3.0.7-24.el9", "openssl")
    assert found.owned_elsewhere == 1
    files = {"var/lib/rpm/rpmdb.sqlite": base.serialize(), "var/lib/rpm/rpmdb.sqlite-wal": b""}
    assert not inventory(files).problems
    assert "was not closed" in inventory({**files, "var/lib/rpm/rpmdb.sqlite-wal": b"x"}).problems[0].reason
    old = inventory({"var/lib/rpm/Packages": b"\0" * 64})
    assert "no RPM database in a form we know" in old.problems[0].reason


def test_packages_of_languages() -> None:
    inner = jar(pom_properties("org.apache.logging.log4j", "log4j-core", "2.14.1"))
    outer = jar({"WEB-INF/lib/log4j-core-2.14.1.jar": inner, "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n"})
    found = inventory(
        {
            "app/node_modules/left-pad/package.json": json.dumps({"name": "left-pad", "version": "1.3.0"}).encode(),
            "app/node_modules/@scope/x/package.json": json.dumps({"name": "@scope/x", "version": "2.0.0"}).encode(),
            "app/package.json": b'{"name": "app", "version": "0.0.1"}',
            "srv/app-1.0.war": outer,
            "usr/lib/python3/site-packages/Django-4.2.dist-info/METADATA": b"Name: Django\nVersion: 4.2\n",
            "usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.3.gemspec": b"Gem::Specification.new",
        }
    )
    assert {(entry.package.type, entry.package.name, entry.package.version) for entry in found.packages} == {
        ("npm", "left-pad", "1.3.0"),
        ("npm", "@scope/x", "2.0.0"),
        ("maven", "org.apache.logging.log4j:log4j-core", "2.14.1"),
        ("maven", "app", "1.0"),
        ("pypi", "Django", "4.2"),
        ("gem", "rack", "2.2.3"),
    }


def go_program(modules: str, version: str = "go1.21.5", padding: int = 3 * 1024 * 1024) -> bytes:
    def string(data: bytes) -> bytes:
        size, out = len(data), b""
        while size >= 0x80:
            out += bytes([size & 0x7F | 0x80])
            size >>= 7
        return out + bytes([size]) + data

    frame = bytes(range(16))
    info = b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + string(version.encode())
    info += string(frame + modules.encode() + b"\n" + frame)
    start = b"\x7fELF" + b"\0" * (padding - 4) + b"x\xff Go buildinf: as text, not aligned"
    return start + bytes(-len(start) % 16) + info + b"\0" * 4096


def test_modules_of_a_go_program_are_found_wherever_they_are_in_it() -> None:
    modules = "path\texample.com/app\nmod\texample.com/app\t(devel)\t\ndep\tgolang.org/x/net\tv0.17.0\th1:x=\n"
    modules += "dep\texample.com/old\tv1.0.0\n=>\texample.com/new\tv1.1.0\th1:y="
    found = inventory({"app": (go_program(modules), 0o755)})
    assert names(found) == {
        "stdlib": ("1.21.5", 0),
        "golang.org/x/net": ("v0.17.0", 0),
        "example.com/new": ("v1.1.0", 0),
    }


def test_whiteouts_and_opaque_folders_hide_lower_layers_only() -> None:
    package = "opt/a/node_modules/{}/package.json"

    def node(name: str) -> bytes:
        return json.dumps({"name": name, "version": "1.0.0"}).encode()

    lower = {package.format(name): node(name) for name in ("gone", "replaced", "kept")}
    lower |= {"opt/b/node_modules/hidden/package.json": node("hidden")}
    lower |= {"opt/c/node_modules/folder-gone/package.json": node("folder-gone")}
    found = inventory(
        lower,
        {
            "opt/a/node_modules/gone/.wh.package.json": b"",
            package.format("replaced"): json.dumps({"name": "replaced", "version": "2.0.0"}).encode(),
            "opt/b/.wh..wh..opq": b"",
            "opt/b/node_modules/fresh/package.json": node("fresh"),
            "opt/.wh.c": b"",
        },
    )
    assert names(found) == {"kept": ("1.0.0", 0), "replaced": ("2.0.0", 1), "fresh": ("1.0.0", 1)}


def test_a_file_in_place_of_a_folder_hides_what_was_in_it() -> None:
    data = json.dumps({"name": "x", "version": "1.0.0"}).encode()
    found = inventory({"a/node_modules/x/package.json": data}, {"a": ("symlink", "b")})
    assert found.packages == ()


def test_hard_links_stand_for_their_target_and_a_second_pass_finds_what_came_before() -> None:
    data = json.dumps({"name": "x", "version": "1.0.0"}).encode()
    layer = {
        "store/abc": data,
        "app/node_modules/x/package.json": ("hardlink", "store/abc"),
        "other/node_modules/x/package.json": ("hardlink", "app/node_modules/x/package.json"),
    }
    record = read_layer([tar_of(layer)], Limits())
    assert record.missing == ["store/abc", "app/node_modules/x/package.json"]
    again = read_layer([tar_of(layer)], Limits(), frozenset(record.missing))
    assert {path for path, packages in again.packages.items() if packages} == {
        "app/node_modules/x/package.json",
        "other/node_modules/x/package.json",
    }
    assert not again.missing


def test_what_dpkg_owns_is_not_counted_again_on_a_merged_system() -> None:
    found = inventory(
        {
            "bin": ("symlink", "usr/bin"),
            "var/lib/dpkg/status": status(("tool", "1-1", "")),
            "var/lib/dpkg/info/tool.list": b"/.\n/bin\n/bin/tool\n",
            "usr/bin/tool": (go_program("dep\texample.com/a\tv1.0.0", padding=100_000), 0o755),
            "usr/local/bin/tool": (go_program("dep\texample.com/b\tv1.0.0", padding=100_000), 0o755),
        }
    )
    assert set(names(found)) == {"tool", "stdlib", "example.com/b"}


def test_secrets_are_found_also_where_a_later_layer_removes_them() -> None:
    found = inventory(
        {
            "root/.ssh/id_ed25519": b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n",
            "app/config.py": b'TOKEN = "ghp_' + b"a1B2" * 9 + b'"\n',
            "usr/lib/python3/test/keycert.pem": b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n",
            "usr/bin/su": (b"x", 0o4755),
        },
        {"root/.ssh/.wh.id_ed25519": b"", "usr/bin/su": (b"x", 0o755)},
    )
    assert {(trace.kind, trace.path, layer) for trace, layer in found.traces} == {
        ("private-key", "root/.ssh/id_ed25519", 0),
        ("secret", "app/config.py", 0),
    }


def test_paths_that_leave_the_root_are_told_of_and_left_out() -> None:
    found = inventory({"../../etc/os-release": DEBIAN, "a/../../var/lib/dpkg/status": status(("x", "1", ""))})
    assert found.system is None
    assert not found.packages
    assert all("leaves the image's root" in problem.reason for problem in found.problems)
    assert len(found.problems) == 2


def test_archives_nested_too_deeply_or_broken_are_problems_not_crashes() -> None:
    deep = jar(pom_properties("g", "a", "1"))
    for number in range(8):
        deep = jar({f"{number}.jar": deep})
    found = inventory({"deep.jar": deep, "broken.jar": b"PK\x03\x04 and no more", "text.jar": b"hello"})
    assert {problem.path for problem in found.problems} == {"deep.jar", "broken.jar", "text.jar"}
    assert any("nested more than 4 deep" in problem.reason for problem in found.problems)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_layers_say_what_unpacking_them_would(data: st.DataObject) -> None:
    """A model of a file system: layers applied one after the other, against records merged."""
    layers: list[dict[str, object]] = []
    tree: dict[str, tuple[str, int]] = {}
    for number in range(data.draw(st.integers(1, 4))):
        layer: dict[str, object] = {}
        for _ in range(data.draw(st.integers(0, 4))):
            folder = data.draw(st.sampled_from(["a", "a/b", "c"]))
            act = data.draw(st.sampled_from(["put", "hide", "opaque", "hide-folder"]))
            path = f"{folder}/node_modules/x/package.json"
            if act == "put":
                layer[path] = json.dumps({"name": folder, "version": f"{number}.0.0"}).encode()
            elif act == "hide":
                layer[f"{folder}/node_modules/x/.wh.package.json"] = b""
            elif act == "hide-folder" and "/" in folder:
                layer["a/.wh.b"] = b""
            elif act == "opaque":
                layer[f"{folder}/.wh..wh..opq"] = b""
        for name in layer:
            parent, _, base = name.rpartition("/")
            gone = f"{parent}/{base[4:]}" if base.startswith(".wh.") else ""
            for path in list(tree):
                opaque = base == ".wh..wh..opq" and path.startswith(parent + "/")
                if opaque or (gone and (path == gone or path.startswith(gone + "/"))):
                    del tree[path]
        for name in layer:
            if name.endswith("package.json") and ".wh." not in name:
                tree[name] = (f"{number}.0.0", number)
        layers.append(layer)
    found = inventory(*layers)
    assert {entry.package.path: (entry.package.version, entry.layer) for entry in found.packages} == tree


def test_a_layer_reads_the_same_in_pieces_of_any_size_and_compressed() -> None:
    whole = tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("x", "1", ""))})
    wanted = read_layer([whole], Limits())
    packed = gzip.compress(whole) + gzip.compress(b"")
    chance = random.Random(1)
    for data in (whole, packed):
        pieces, at = [], 0
        while at < len(data):
            size = chance.randint(1, 700)
            pieces.append(data[at : at + size])
            at += size
        assert read_layer(pieces, Limits()) == wanted


def test_zstd_layers_are_read() -> None:
    zstd = pytest.importorskip("backports.zstd")
    data = tar_of({"etc/os-release": DEBIAN})
    record: LayerRecord = read_layer([zstd.compress(data[:1000]) + zstd.compress(data[1000:])], Limits())
    assert record.systems["etc/os-release"]["ID"] == "debian"
