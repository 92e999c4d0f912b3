"""Images in a registry, over the OCI distribution protocol with token authentication.

Sources: OCI distribution specification 1.1; Distribution's "Token Authentication Specification".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from pilothouse.guard.images.fetch import Headers, Http, HttpError, is_loopback
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.image import (
    INDEXES,
    MANIFESTS,
    Image,
    checked_digest,
    choose,
    image_of,
    json_document,
    small,
    verified,
)
from pilothouse.guard.images.source.reference import Reference

_HUB: Final = "registry-1.docker.io"
_HUB_KEYS: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_RESUMES: Final = 5
_NO_API: Final = (400, 404, 405, 501)
"""Answers of registries that do not know the referrers API."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to prove who we are: user and password, or a token that a login left."""

    username: str = ""
    password: str = field(default="", repr=False)


def docker_logins(file: Path) -> Callable[[str], Login]:
    """Logins by registry host from a docker config.json. Credential helpers are not called."""
    try:
        auths = json.loads(file.read_text()).get("auths") or {}
    except (OSError, ValueError, AttributeError):
        auths = {}

    def login(host: str) -> Login:
        for key in _HUB_KEYS if host == "docker.io" else (host, f"https://{host}", f"https://{host}/v2/"):
            entry = auths.get(key)
            if isinstance(entry, dict) and entry.get("auth"):
                try:
                    name, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                except ValueError:
                    continue
                return Login(name, password)
        return Login()

    return login


class Registry:
    """One repository of one registry. Plain HTTP is spoken to loopback, and elsewhere only when `plain` says so.

    `at` is where it is asked in place of its own address: the URL up to `/v2`.
    """

    def __init__(self, reference: Reference, http: Http, login: Login, *, plain: bool = False, at: str = "") -> None:
        self._reference = reference
        self._http = http
        self._login = login
        host = _HUB if reference.host == "docker.io" else reference.host
        scheme = "http" if plain or is_loopback(host) else "https"
        self._base = f"{at or f'{scheme}://{host}/v2'}/{reference.path}"
        self._secret = ""

    def image(self, platform: str) -> Image:
        """The image for a platform. Raises NotReadable."""
        name = str(self._reference)
        data, digest, media_type = self._manifest(self._reference.wanted)
        document = json_document(data, f"{name}: its manifest")
        index = ""
        if media_type in INDEXES or "manifests" in document:
            index, entry = digest, choose(name, document, platform)
            data, digest, _ = self._manifest(checked_digest(entry.get("digest"), name))
            document = json_document(data, f"{name}: its manifest")
        if document.get("schemaVersion") == 1:
            raise NotReadable(f"{name}: its manifest is of Docker's schema 1, which is no longer read; push it anew")
        return replace(image_of(name, digest, document, self._blob), index=index)

    @property
    def name(self) -> str:
        """The image that was asked for."""
        return str(self._reference)

    def resolve(self) -> str:
        """The digest that the name stands for now. Raises NotReadable."""
        return self._reference.digest or self._manifest(self._reference.wanted)[1]

    def document(self, wanted: str) -> dict[str, Any] | None:
        """A manifest or index by tag or digest, None when there is none. Raises NotReadable."""
        try:
            data, _, _ = self._manifest(wanted)
        except HttpError as error:
            if error.status == 404:
                return None
            raise
        return json_document(data, f"{self.name}: {wanted}")

    def referrers(self, digest: str) -> dict[str, Any] | None:
        """The index of what refers to a digest, None when the registry has no such API. Raises NotReadable."""
        try:
            pieces, _ = self._get(f"/referrers/{digest}", {"Accept": INDEXES[0]})
        except HttpError as error:
            if error.status in _NO_API:
                return None
            raise
        return json_document(small(pieces, f"{self.name}: its referrers"), f"{self.name}: its referrers")

    def blob(self, digest: str, largest: int) -> bytes:
        """A verified blob of at most so many bytes. Raises NotReadable."""
        what = f"{self.name}: blob {digest[:19]}"
        return small(verified(self._blob(digest, 0), digest, what), what, largest)

    def _manifest(self, wanted: str) -> tuple[bytes, str, str]:
        answer = self._get(f"/manifests/{wanted}", {"Accept": ", ".join((*MANIFESTS, *INDEXES))})
        pieces, headers = answer
        name = f"{self._reference}: its manifest"
        if ":" in wanted:
            return small(verified(pieces, wanted, name), name), wanted, headers.get("Content-Type", "")
        import hashlib

        data = small(pieces, name)
        return data, "sha256:" + hashlib.sha256(data).hexdigest(), headers.get("Content-Type", "")

    def _blob(self, digest: str, size: int) -> Iterator[bytes]:
        """A blob's bytes; a connection that breaks is taken up again where it broke."""
        done = 0
        for left in reversed(range(_RESUMES)):
            headers = {"Range": f"bytes={done}-"} if done else {}
            pieces, answered = self._get(f"/blobs/{digest}", headers)
            if done and answered.get("Content-Range") is None:
                pieces = _without(pieces, done)
            try:
                for piece in pieces:
                    done += len(piece)
                    if size and done > size:
                        raise NotReadable(f"{self._reference}: blob {digest[:19]} is longer than its manifest says")
                    yield piece
                return
            except NotReadable as error:
                if not left or "connection" not in str(error):
                    raise

    def _get(self, path: str, headers: Mapping[str, str]) -> tuple[Iterator[bytes], Headers]:
        url = self._base + path
        try:
            answer = self._http.get(url, headers, self._secret)
        except HttpError as error:
            if error.status != 401 or error.headers is None:
                raise self._explained(error) from None
            self._secret = self._authenticate(error.headers.get_all("WWW-Authenticate") or [])
            try:
                answer = self._http.get(url, headers, self._secret)
            except HttpError as again:
                raise self._explained(again) from None
        return answer.pieces(), answer.headers

    def _explained(self, error: HttpError) -> NotReadable:
        name = str(self._reference)
        if error.status in (401, 403):
            what = "as this user" if self._login.username else "without a login (docker login writes one that is used)"
            return HttpError(f"{name}: the registry refuses access {what}: {error}", error.status)
        if error.status == 404:
            return HttpError(f"{name}: the registry does not have it: {error}", error.status)
        return error

    def _authenticate(self, challenges: list[str]) -> str:
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
        for challenge in challenges:
            if challenge.lower().startswith("basic") and self._login.username:
                return self._basic()
        raise NotReadable(f"{self._reference}: the registry asks for a login that there is none for")

    def _basic(self) -> str:
        pair = f"{self._login.username}:{self._login.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _token(self, parameters: dict[str, str]) -> str:
        realm = parameters.get("realm", "")
        place = urlsplit(realm)
        if place.scheme != "https" and not (self._base.startswith("http://") and place.scheme == "http"):
            raise NotReadable(f"{self._reference}: the registry sends us to {realm!r} for a token; only https is used")
        query = {"service": parameters.get("service", ""), "scope": f"repository:{self._reference.path}:pull"}
        secret = self._basic() if self._login.username else ""
        separator = "&" if place.query else "?"
        url = f"{realm}{separator}{urlencode({key: value for key, value in query.items() if value})}"
        try:
            answer = self._http.get(url, secret=secret)
        except HttpError as error:
            raise self._explained(error) from None
        document: dict[str, Any] = json_document(small(answer.pieces(), "the token"), f"{self._reference}: its token")
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise NotReadable(f"{self._reference}: {place.netloc} answered without a token")
        return token


def _without(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Without bytes that were had before, from a server that does not serve ranges."""
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:]
        count = 0
