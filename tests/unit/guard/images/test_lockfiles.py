from __future__ import annotations

import json
from pathlib import Path

import pytest

from pilothouse.guard.images.inventory.directory import directory_inventory
from pilothouse.guard.images.model import NotReadable

FILES: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "requirements.txt": (
        "# c\n-r other.txt\nDjango[argon2]==4.2 \\\n  --hash=sha256:ab\nrequests>=2\nx @ https://x/y.whl\n"
        "jinja2==3.1.2 ; python_version > '3'\n",
        {("Django", "4.2"), ("requests", ""), ("jinja2", "3.1.2")},
    ),
    "poetry.lock": ('[[package]]\nname = "a"\nversion = "1.0"\n[metadata]\n', {("a", "1.0")}),
    "uv.lock": (
        'version = 1\n[[package]]\nname = "own"\nversion = "0.1"\nsource = { editable = "." }\n'
        '[[package]]\nname = "b"\nversion = "2.0"\nsource = { registry = "https://packages.example/simple" }\n',
        {("b", "2.0")},
    ),
    "Pipfile.lock": (json.dumps({"default": {"c": {"version": "==3.0"}}, "develop": {}}), {("c", "3.0")}),
    "package-lock.json": (
        json.dumps(
            {
                "lockfileVersion": 3,
                "packages": {
                    "": {"name": "app", "version": "1.0.0"},
                    "node_modules/d": {"version": "4.0.0"},
                    "node_modules/d/node_modules/@s/e": {"version": "5.0.0"},
                    "node_modules/alias": {"name": "real", "version": "6.0.0"},
                    "node_modules/linked": {"link": True, "resolved": "lib"},
                },
            }
        ),
        {("d", "4.0.0"), ("@s/e", "5.0.0"), ("real", "6.0.0")},
    ),
    "npm-shrinkwrap.json": (
        json.dumps({"dependencies": {"f": {"version": "1.0.0", "dependencies": {"g": {"version": "2.0.0"}}}}}),
        {("f", "1.0.0"), ("g", "2.0.0")},
    ),
    "yarn.lock": (
        '# yarn lockfile v1\n\n"@s/h@^1.0.0", "@s/h@^1.1.0":\n  version "1.2.0"\n  resolved "x"\n\n'
        'i@^2:\n  version "2.0.0"\n  dependencies:\n    j "^1"\n\n"k@npm:^3.0.0":\n  version: 3.0.1\n\n'
        '"own@workspace:.":\n  version: 0.0.0-use.local\n',
        {("@s/h", "1.2.0"), ("i", "2.0.0"), ("k", "3.0.1")},
    ),
    "pnpm-lock.yaml": (
        "lockfileVersion: '9.0'\npackages:\n  '@s/l@1.0.0':\n    resolution: {}\n  m@2.0.0(react@18.0.0):\n    x: 1\n"
        "  /n/3.0.0:\n    x: 1\n",
        {("@s/l", "1.0.0"), ("m", "2.0.0"), ("n", "3.0.0")},
    ),
    "go.mod": (
        "module example.com/app\n\ngo 1.21\n\ntoolchain go1.21.5\n\nrequire (\n\tgolang.org/x/net v0.17.0\n"
        "\tgithub.com/a/b/v2 v2.0.0 // indirect\n)\n\nrequire github.com/c/d v1.0.0\n\n"
        "replace github.com/c/d => github.com/e/f v1.1.0\n",
        {
            ("stdlib", "1.21.5"),
            ("golang.org/x/net", "v0.17.0"),
            ("github.com/a/b/v2", "v2.0.0"),
            ("github.com/e/f", "v1.1.0"),
        },
    ),
    "go.sum": (
        "golang.org/x/text v0.3.0 h1:a=\ngolang.org/x/text v0.3.0/go.mod h1:b=\n",
        {("golang.org/x/text", "v0.3.0")},
    ),
    "Cargo.lock": (
        '[[package]]\nname = "own"\nversion = "0.1.0"\n\n[[package]]\nname = "serde"\nversion = "1.0.1"\n'
        'source = "registry+https://github.com/rust-lang/crates.io-index"\n',
        {("serde", "1.0.1")},
    ),
    "pom.xml": (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><version>9</version><properties><v>2.14.1</v></properties>'
        "<dependencyManagement><dependencies><dependency><groupId>g</groupId><artifactId>m</artifactId>"
        "<version>1</version></dependency></dependencies></dependencyManagement><dependencies>"
        "<dependency><groupId>org.apache</groupId><artifactId>log4j</artifactId><version>${v}</version></dependency>"
        "<dependency><groupId>g</groupId><artifactId>m</artifactId></dependency>"
        "<dependency><groupId>g</groupId><artifactId>own</artifactId><version>${project.version}</version></dependency>"
        "<dependency><groupId>g</groupId><artifactId>unknown</artifactId></dependency>"
        "<dependency><groupId>t</groupId><artifactId>t</artifactId><version>1</version><scope>test</scope></dependency>"
        "</dependencies></project>",
        {("org.apache:log4j", "2.14.1"), ("g:m", "1"), ("g:own", "9"), ("g:unknown", "")},
    ),
    "Gemfile.lock": (
        "GEM\n  remote: https://rubygems.org/\n  specs:\n    rack (2.2.3)\n      x (>= 1)\n"
        "    nokogiri (1.15.0-x86_64-linux)\n",
        {("rack", "2.2.3"), ("nokogiri", "1.15.0")},
    ),
    "packages.lock.json": (
        json.dumps(
            {
                "version": 1,
                "dependencies": {
                    "net8.0": {
                        "Serilog": {"type": "Direct", "requested": "[3.1.1, )", "resolved": "3.1.1"},
                        "own": {"type": "Project"},
                    },
                    "net6.0": {"Serilog": {"type": "Transitive", "resolved": "3.1.0"}},
                },
            }
        ),
        {("Serilog", "3.1.1"), ("Serilog", "3.1.0")},
    ),
    "composer.lock": (json.dumps({"packages": [{"name": "a/b", "version": "v1.2.3"}]}), {("a/b", "1.2.3")}),
}


@pytest.mark.parametrize("name", FILES)
def test_lockfiles(name: str, tmp_path: Path) -> None:
    text, wanted = FILES[name]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / name).write_text(text)
    found = directory_inventory(tmp_path)
    assert {(entry.package.name, entry.package.version) for entry in found.packages} == wanted
    assert {entry.package.path for entry in found.packages} == {f"deep/er/{name}"}
    assert not found.problems


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package-lock.json", "[" * 100_000),
        ("package-lock.json", "{"),
        ("poetry.lock", "= ="),
        ("pnpm-lock.yaml", "{a: [}"),
        ("pom.xml", "<a><b></a>"),
        ("pom.xml", '<!DOCTYPE x [<!ENTITY a "b">]><project/>'),
        ("composer.lock", "x"),
        ("packages.lock.json", "x"),
    ],
)
def test_broken_lockfiles_are_problems_that_name_the_file(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "requirements.txt").write_text("a==1")
    found = directory_inventory(tmp_path)
    assert [problem.path for problem in found.problems] == [name]
    assert [entry.package.name for entry in found.packages] == ["a"]


def test_a_folder_with_nothing_in_it_is_no_clean_bill(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("x = 1")
    with pytest.raises(NotReadable, match="no lockfile and no installed package"):
        directory_inventory(tmp_path)


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "requirements.txt").write_text("evil==1")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "requirements.txt").write_text("a==1")
    (inside / "requirements-x.txt").symlink_to(tmp_path / "outside" / "requirements.txt")
    (inside / "linked").symlink_to(tmp_path / "outside")
    assert [entry.package.name for entry in directory_inventory(inside).packages] == ["a"]
