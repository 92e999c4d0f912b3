"""Where a registry is asked: mirrors, authorities of one's own and plain HTTP, as the nodes' containerd has them.

Source: containerd, docs/hosts.md (`certs.d/HOST/hosts.toml`). Client certificates and headers of a host are not used.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pilothouse.guard.images.model import NotReadable

_DEFAULT: Final = "_default"
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that a registry's images are had from; `url` with `/v2` unless its path is taken as it is."""

    url: str
    authorities: tuple[str, ...] = ()
    """Files of authorities (PEM) that are trusted beside the system's."""
    verify: bool = True


def endpoints(folder: Path, host: str) -> list[Endpoint]:
    """The places to ask, in order; none when nothing is configured for the host. Raises NotReadable."""
    for name in (host, _DEFAULT):
        file = folder / name / "hosts.toml"
        try:
            if file.stat().st_size > _LARGEST:
                raise NotReadable(f"{file}: larger than {_LARGEST >> 20} MiB")
            tree = tomllib.loads(file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise NotReadable(f"{file}: {error}") from error
        return _endpoints(tree, file, host)
    return []


def _endpoints(tree: dict[str, Any], file: Path, host: str) -> list[Endpoint]:
    listed = tree.get("host")
    hosts = listed.items() if isinstance(listed, dict) else ()
    found = [
        _endpoint(url, entry, file)
        for url, entry in hosts
        if isinstance(entry, dict) and _pulls(entry.get("capabilities"))
    ]
    # What stands outside of a host is about the registry itself, which is asked last.
    own = "registry-1.docker.io" if host == "docker.io" else host
    return [*found, _endpoint(str(tree.get("server") or f"https://{own}"), tree, file)]


def _pulls(capabilities: object) -> bool:
    return not isinstance(capabilities, list) or {"pull", "resolve"} <= {str(each) for each in capabilities}


def _endpoint(url: str, entry: dict[str, Any], file: Path) -> Endpoint:
    place = urlsplit(url if "://" in url else f"https://{url}")
    if place.scheme not in ("http", "https") or not place.netloc:
        raise NotReadable(f"{file}: {url!r} is no address of a registry")
    path = place.path.rstrip("/")
    if not entry.get("override_path") and not path.endswith("/v2"):
        path += "/v2"
    authorities = entry.get("ca")
    listed = authorities if isinstance(authorities, list) else [authorities] if authorities else []
    files = tuple(str((file.parent / str(each)).absolute()) for each in listed)
    return Endpoint(f"{place.scheme}://{place.netloc}{path}", files, not entry.get("skip_verify"))
