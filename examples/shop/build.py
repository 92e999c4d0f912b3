"""Builds the shop's three images from Debian packages, pushes them to a registry on loopback, and writes the manifests
with each image named by the digest that was pushed.

    build.py REGISTRY OUT             e.g. build.py 127.0.0.1:5000 build/shop
    build.py --check REGISTRY OUT     succeeds when the registry still has every image that OUT names
"""

import http.client
import re
import sys
from pathlib import Path

from pilothouse.testing.images import MANIFEST, ImageError, Recipe, build, push

HERE = Path(__file__).resolve().parent


def recipes() -> dict[str, Recipe]:
    app = (HERE / "images" / "app" / "app.py").read_bytes()
    return {
        "shop/front": Recipe(
            packages=["nginx-light"],
            entrypoint=["/usr/sbin/nginx"],
            exposed=["8080/tcp"],
        ),
        "shop/app": Recipe(
            packages=["python3-minimal", "libpython3.11-stdlib"],
            files={"srv/app.py": app},
            entrypoint=["/usr/bin/python3", "-u", "-B", "/srv/app.py"],
            exposed=["8080/tcp"],
        ),
        "shop/redis": Recipe(
            packages=["redis-server"],
            entrypoint=["/usr/bin/redis-server"],
            exposed=["6379/tcp"],
        ),
    }


def check(registry: str, out: Path) -> bool:
    """True when every image in OUT is of that registry, and there."""
    connection = http.client.HTTPConnection(registry, timeout=5)
    images = [
        reference
        for manifest in out.glob("*.yaml")
        for reference in re.findall(r"(?m)^\s*image: (\S+@\S+)$", manifest.read_text())
    ]
    for reference in images:
        host, _, rest = reference.partition("/")
        repository, _, digest = rest.partition("@")
        connection.request("HEAD", f"/v2/{repository}/manifests/{digest}", headers={"Accept": MANIFEST})
        answer = connection.getresponse()
        answer.read()
        if host != registry or answer.status != 200:
            return False
    return bool(images)


def main() -> None:
    if sys.argv[1] == "--check":
        sys.exit(not check(sys.argv[2], Path(sys.argv[3])))
    registry, out = sys.argv[1], Path(sys.argv[2])
    references = {}
    for name, recipe in recipes().items():
        print(f"  building {name} from Debian packages: {', '.join(recipe.packages)}", flush=True)
        references[name] = push(build(recipe), registry, name, "1")
        print(f"  pushed {references[name]}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted(HERE.glob("*.yaml")):
        text = re.sub(r"(?m)^(\s*image: )(shop/\w+)$", lambda m: m[1] + references[m[2]], source.read_text())
        if not Path("/proc/net/if_inet6").exists():
            text = re.sub(r"(?m)^ *listen \[::\].*\n", "", text)
        (out / source.name).write_text(text)


if __name__ == "__main__":
    try:
        main()
    except ImageError as error:
        sys.exit(str(error))
