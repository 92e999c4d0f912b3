"""Builds the shop's three images from Debian packages, pushes them to a registry on loopback, and writes the manifests
with each image named by the digest that was pushed.

    build.py REGISTRY OUT     e.g. build.py 127.0.0.1:5000 build/shop
"""

import re
import sys
from pathlib import Path

from pilothouse.testing.images import ImageError, Recipe, build, push

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


def main() -> None:
    registry, out = sys.argv[1], Path(sys.argv[2])
    references = {}
    for name, recipe in recipes().items():
        print(f"  building {name} from Debian packages: {', '.join(recipe.packages)}", flush=True)
        references[name] = push(build(recipe), registry, name, "1")
        print(f"  pushed {references[name]}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted(HERE.glob("*.yaml")):
        text = re.sub(r"(?m)^(\s*image: )(shop/\w+)$", lambda m: m[1] + references[m[2]], source.read_text())
        (out / source.name).write_text(text)


if __name__ == "__main__":
    try:
        main()
    except ImageError as error:
        sys.exit(str(error))
