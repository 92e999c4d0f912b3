"""Orders of versions held to each ecosystem's own tool, where this machine has it."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pilothouse.guard.images.match.versions import version_key

NUMBERS = ("0", "1", "2", "10", "1.0", "1.2", "1.2.0", "1.2.3", "1.10.0", "2.0.1", "0.0.0", "1.0.0")
MAVEN = Path("/usr/share/maven/lib/maven-artifact-3.x.jar")
COMPOSER = Path("/usr/share/php/Composer/Semver/autoload.php")


def versions(seed: int, labels: tuple[str, ...], numbers: tuple[str, ...] = NUMBERS) -> list[str]:
    chance = random.Random(seed)
    return [chance.choice(numbers) + chance.choice(labels) for _ in range(300)]


def pairs(texts: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(texts))


def sign(order: str, first: str, second: str) -> int:
    a, b = version_key(order, first), version_key(order, second)
    return (a > b) - (a < b)


def check(order: str, asked: list[tuple[str, str]], answer: str) -> None:
    """Compares with a program's answers, one a line: -1, 0 or 1."""
    wanted = [int(word) for word in answer.split()]
    assert len(wanted) == len(asked)
    differing = [(a, b, want) for (a, b), want in zip(asked, wanted) if sign(order, a, b) != want]
    assert not differing


def run(*words: str, given: str = "") -> str:
    return subprocess.run(words, input=given, capture_output=True, text=True, check=True, timeout=120).stdout


def semver_of_npm() -> Path | None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    path = Path(run("npm", "root", "-g").strip(), "npm/node_modules/semver")
    return path if path.is_dir() else None


def test_semver_is_that_of_npm() -> None:
    path = semver_of_npm()
    if path is None:
        pytest.skip("npm is not installed")
    labels = ("", "", "-alpha", "-alpha.1", "-alpha.beta", "-beta.2", "-beta.11", "-rc.1", "+build", "-0", "-x-y.7.z")
    asked = pairs(versions(1, labels, tuple(text for text in NUMBERS if text.count(".") == 2)))
    script = (
        f"const s=require({json.dumps(str(path))});"
        "for (const [a,b] of JSON.parse(require('fs').readFileSync(0))) console.log(s.compare(a,b))"
    )
    check("semver", asked, run("node", "-e", script, given=json.dumps(asked)))


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed")
def test_gem_is_that_of_rubygems() -> None:
    labels = ("", "", ".a", ".b1", ".rc1", ".pre", ".pre.2", "-1", "-java", ".0", ".0.0", ".a.0", ".beta10")
    asked = pairs(versions(2, labels))
    script = "require 'json'; JSON.parse(STDIN.read).each { |a, b| puts Gem::Version.new(a) <=> Gem::Version.new(b) }"
    check("gem", asked, run("ruby", "-e", script, given=json.dumps(asked)))


@pytest.mark.skipif(
    shutil.which("php") is None or not COMPOSER.exists(), reason="php and composer's semver are not installed"
)
def test_composer_is_that_of_composer() -> None:
    labels = ("", "", "-dev", "-alpha", "-alpha1", "-alpha10", "a2", "-beta2", "-beta10", "-RC1", "-rc.2", "RC3")
    more = ("-stable", "-patch1", "-pl2", "p1", "-alpha1-dev", "+build", "_beta", ".beta3", "-b-4")
    asked = pairs([chosen.replace("10.", "9.") for chosen in versions(3, labels + more)])
    script = (
        f"require '{COMPOSER}'; use Composer\\Semver\\Comparator as C; $p = new Composer\\Semver\\VersionParser;"
        "foreach (json_decode(file_get_contents('php://stdin')) as $pair) {"
        "[$a, $b] = array_map([$p, 'normalize'], $pair);"
        'echo C::lessThan($a, $b) ? -1 : (C::equalTo($a, $b) ? 0 : 1), "\\n"; }'
    )
    check("composer", asked, run("php", "-r", script, given=json.dumps(asked)))


@pytest.mark.skipif(shutil.which("java") is None or not MAVEN.exists(), reason="maven is not installed")
def test_maven_is_that_of_maven() -> None:
    labels = ("", "", "-alpha-1", "-alpha2", "-a1", "-beta1", "-m1", "-rc1", "-SNAPSHOT", "-sp1", "-jre", "-1", ".RC1")
    more = (".RELEASE", ".Final", "-ga", ".v20200101", "-android", "-b02", ".sp2", "-rc", "-20200101.120000-1", ".x")
    texts = versions(4, labels + more)[:120]
    lines = run("java", "-cp", _maven_classes(), "org.apache.maven.artifact.versioning.ComparableVersion", *texts)
    signs = {"<": "-1", "==": "0", ">": "1"}
    answers = [line.split()[1] for line in lines.splitlines() if len(line.split()) == 3 and line.split()[1] in signs]
    check("maven", pairs(texts), "\n".join(signs[answer] for answer in answers))


def _maven_classes() -> str:
    return ":".join(str(path) for path in sorted(MAVEN.parent.glob("*.jar")))


@pytest.mark.skipif(shutil.which("elixir") is None, reason="elixir is not installed")
def test_hex_is_that_of_elixir() -> None:
    labels = ("", "", "-alpha", "-alpha.1", "-beta.2", "-beta.11", "-rc.0", "-rc.10", "-dev")
    texts = versions(5, labels, tuple(text for text in NUMBERS if text.count(".") == 2))
    listed = ",".join(f'{{"{a}","{b}"}}' for a, b in pairs(texts))
    script = f"for {{a, b}} <- [{listed}], do: IO.puts(case Version.compare(a, b) do :lt -> -1; :eq -> 0; :gt -> 1 end)"
    check("semver", pairs(texts), run("elixir", "-e", script))
