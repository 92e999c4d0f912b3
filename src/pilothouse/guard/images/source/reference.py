"""Image references as people write them at a desk. Grammar: OCI distribution, with Docker Hub's short names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.model import NotReadable

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?", re.ASCII)
_REST: Final = re.compile(
    rf"(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """With everything that is left out filled in."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def wanted(self) -> str:
        """What is asked of the registry: the digest where there is one."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.path}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Raises NotReadable."""
    first, slash, rest = text.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host = first if has_host else "docker.io"
    match = _REST.fullmatch(rest if has_host else text)
    if match is None or not _HOST.fullmatch(host):
        raise NotReadable(
            f"{text!r} is no image reference: write [HOST/]PATH[:TAG][@sha256:DIGEST], the path in lower case"
        )
    path = match["path"]
    if host in ("docker.io", "index.docker.io"):
        host = "docker.io"
        path = path if "/" in path else f"library/{path}"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return Reference(host, path, tag, match["digest"] or "")
