"""URLs. Source: Kubernetes `library/urls.go`, which parses by Go's `url.ParseRequestURI`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, unquote_plus, urlsplit

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import Opaque

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]\s<>\"{}|\\^`/?#@]*)(?::[0-9]*)?")


class Url(Opaque):
    """A parsed URL."""

    __slots__ = ("parts", "text")
    TYPE = "kubernetes.URL"

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        scheme = _SCHEME.match(text)
        if not scheme and not text.startswith("/"):
            raise ValueError("missing protocol scheme" if text.startswith(":") else "invalid URI for request")
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
            raise ValueError("net/url: invalid control character in URL")
        self.text = text
        self.parts = _split(text, scheme[0][:-1] if scheme else "")
        if _ESCAPE.search(self.parts.path):
            raise ValueError("invalid URL escape")
        host = self.parts.netloc.rpartition("@")[2]
        if not _HOST.fullmatch(host):
            raise ValueError(f"invalid host {host!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _split(text: str, scheme: str) -> SplitResult:
    """Without a scheme all is a path; with one, what does not go on with a slash is opaque."""
    rest, _, query = text[len(scheme) + 1 :].partition("?") if scheme else text.partition("?")
    if not scheme:
        return SplitResult("", "", rest, query, "")
    if not rest.startswith("/"):
        return SplitResult(scheme.lower(), "", "", query, "")
    return urlsplit(text, allow_fragments=False)


@function(":url(string) -> URL", cost=costs.traverse)
def _(budget: Budget, text: str) -> Url:
    try:
        return Url(text)
    except ValueError as error:
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": {error}') from None


@function(":isURL(string) -> bool")
def _(budget: Budget, text: str) -> bool:
    try:
        Url(text)
    except ValueError:
        return False
    return True


@function("URL.getScheme() -> string")
def _(budget: Budget, url: Url) -> str:
    return url.parts.scheme


@function("URL.getHost() -> string")
def _(budget: Budget, url: Url) -> str:
    return url.parts.netloc.rpartition("@")[2]


@function("URL.getHostname() -> string")
def _(budget: Budget, url: Url) -> str:
    host = url.parts.netloc.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


@function("URL.getPort() -> string")
def _(budget: Budget, url: Url) -> str:
    host = url.parts.netloc.rpartition("@")[2]
    return host.rpartition("]")[2].partition(":")[2]


@function("URL.getEscapedPath() -> string")
def _(budget: Budget, url: Url) -> str:
    return url.parts.path.replace(" ", "%20")


@function("URL.getQuery() -> map(string, list(string))")
def _(budget: Budget, url: Url) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in url.parts.query.split("&"):
        if entry:
            key, _, value = entry.partition("=")
            found.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return found
