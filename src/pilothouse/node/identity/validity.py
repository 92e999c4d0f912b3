"""When a certificate begins and ends, read without loading a cryptography library into a long-lived process.

Source: RFC 5280, section 4.1; DER lengths and times by X.690.
"""

from __future__ import annotations

import datetime as dt
import ssl
from typing import NamedTuple

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class Validity(NamedTuple):
    begin: dt.datetime
    end: dt.datetime

    def at(self, share: float) -> dt.datetime:
        """The moment when that share of the life is over."""
        return self.begin + (self.end - self.begin) * share


def validity(pem: str) -> Validity:
    """Of the first certificate in a PEM text. Raises ValueError when there is none."""
    begin = pem.find(ssl.PEM_HEADER)
    end = pem.find(ssl.PEM_FOOTER, begin)
    if begin < 0 or end < 0:
        raise ValueError("no certificate in the file")
    der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(ssl.PEM_FOOTER)])
    try:
        _, certificate, _ = _element(der, 0)
        _, body, _ = _element(certificate, 0)
        at = 0
        if body[0] == _VERSION:
            _, _, at = _element(body, at)
        for _ in range(3):  # serial number, signature algorithm, issuer
            _, _, at = _element(body, at)
        _, times, _ = _element(body, at)
        kind, first, at = _element(times, 0)
        other, second, _ = _element(times, at)
        return Validity(_moment(kind, first), _moment(other, second))
    except IndexError as error:
        raise ValueError("the certificate is cut off") from error


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and the position behind an element."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[at : at + size], "big")
        at += size
    return tag, data[at : at + length], at + length


def _moment(tag: int, content: bytes) -> dt.datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("the certificate's validity is not a time")
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)
