"""HTTP for registries and data: bounded, with time-outs, retries and redirects that give nothing away."""

from __future__ import annotations

import email.utils
import ipaddress
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import Message
from http.client import HTTPException, HTTPMessage
from typing import IO, Final
from urllib.parse import urlsplit

from pilothouse import __version__
from pilothouse.guard.images.model import NotReadable

Headers = Message
"""Headers of an answer."""

_PIECE: Final = 256 * 1024
_TIMEOUT: Final = 30.0
_TRIES: Final = 4
_LONGEST_WAIT: Final = 60.0
_AGAIN: Final = (408, 429, 500, 502, 503, 504)


class HttpError(NotReadable):
    """An answer other than what was asked for."""

    def __init__(self, message: str, status: int, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Answer:
    """An answer; the body is read in pieces, once."""

    def __init__(self, status: int, headers: Headers, body: IO[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    def pieces(self) -> Iterator[bytes]:
        """Raises NotReadable when the connection breaks or ends before the length that was promised."""
        length = self.headers.get("Content-Length")
        got = 0
        try:
            while piece := self._body.read(_PIECE):
                got += len(piece)
                yield piece
        except (OSError, HTTPException) as error:
            raise NotReadable(f"the connection broke after {got} bytes: {error}") from error
        finally:
            self._body.close()
        if length is not None and length.isdigit() and got < int(length):
            raise NotReadable(f"the connection ended after {got} of {length} bytes")


def is_loopback(host: str) -> bool:
    """True for this machine: what is sent there passes nobody."""
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from HTTPS to plain HTTP."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
            raise NotReadable(f"{old.netloc} redirects from HTTPS to {new.scheme}://{new.netloc}; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Http:
    """Asks, waits and asks again. `pause` is given in tests.

    `authorities` are files (PEM) of authorities that are trusted beside the system's. Raises NotReadable for one that
    cannot be read.
    """

    def __init__(
        self,
        pause: Callable[[float], None] = time.sleep,
        *,
        tries: int = _TRIES,
        authorities: Sequence[str] = (),
        verify: bool = True,
    ) -> None:
        self._pause = pause
        self._tries = tries
        context = ssl.create_default_context()
        for file in authorities:
            try:
                context.load_verify_locations(file)
            except OSError as error:
                raise NotReadable(f"{file}: no certificates of an authority: {error.strerror or error}") from error
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._opener = urllib.request.build_opener(_Redirects(), urllib.request.HTTPSHandler(context=context))

    def get(
        self, url: str, headers: Mapping[str, str] | None = None, secret: str = "", accept: tuple[int, ...] = ()
    ) -> Answer:
        """Answers 200, 206 and those of `accept`; `secret` is the Authorization header, not sent on to other places.

        Raises HttpError, NotReadable.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(url, headers or {}, secret, accept)
            except HttpError as error:
                if error.status not in _AGAIN or tries >= self._tries:
                    raise
                self._pause(_wait(error.headers, tries))
            except NotReadable as error:
                if tries >= self._tries or not isinstance(error.__cause__, OSError | HTTPException):
                    raise
                self._pause(_wait(None, tries))

    def _once(self, url: str, headers: Mapping[str, str], secret: str, accept: tuple[int, ...]) -> Answer:
        place = urlsplit(url)
        if place.scheme not in ("http", "https"):
            raise NotReadable(f"{url}: only http and https are spoken")
        request = urllib.request.Request(url, headers={"User-Agent": f"pilothouse/{__version__}", **headers})
        if secret:
            request.add_unredirected_header("Authorization", secret)
        shown = f"{place.scheme}://{place.netloc}{place.path}"
        try:
            response = self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code in accept:
                return Answer(error.code, error.headers, error)
            error.close()
            raise HttpError(f"{shown}: answered {error.code} {error.reason}", error.code, error.headers) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NotReadable(f"{shown} cannot be reached: {reason}") from (
                error if not isinstance(reason, ssl.SSLCertVerificationError) else None
            )
        return Answer(response.status, response.headers, response)


def _wait(headers: Headers | None, tries: int) -> float:
    """Seconds until the next try: as the server asks, at most a minute, else growing."""
    asked = headers.get("Retry-After", "") if headers is not None else ""
    if asked.isdigit():
        return min(float(asked), _LONGEST_WAIT)
    if asked:
        date = email.utils.parsedate_tz(asked)
        if date is not None:
            return min(max(0.0, email.utils.mktime_tz(date) - time.time()), _LONGEST_WAIT)
    return float(2 ** (tries - 1))
