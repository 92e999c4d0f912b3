"""Image references: which registry one names. Grammar: OCI distribution, with Docker Hub's short names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pilothouse.kinds.families import split_host_port

_DEFAULT_HOST, _DEFAULT_REGISTRY = "docker.io", "registry-1.docker.io"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DIGEST = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_REST = re.compile(
    rf"(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII
)


class InvalidImageName(ValueError):
    """The text names no image."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference with everything that is left out filled in."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Host and path: what credentials are matched against."""
        return f"{self.host}/{self.path}"

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host (Docker Hub's own) and port of the registry."""
        host, port = split_host_port(self.host)
        return _DEFAULT_REGISTRY if host == _DEFAULT_HOST else host, int(port or 443)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Raises InvalidImageName."""
    first, slash, rest = text.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host = first if has_host else _DEFAULT_HOST
    match = _REST.fullmatch(rest if has_host else text)
    if match is None or not _HOST.fullmatch(host):
        raise InvalidImageName(
            f'couldn\'t parse image name "{text}": invalid reference format (write [HOST/]PATH[:TAG][@sha256:DIGEST], '
            "the path in lower case)"
        )
    path = match["path"]
    if host == _DEFAULT_HOST and "/" not in path:
        path = f"library/{path}"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return Reference(host, path, tag, match["digest"] or "")
