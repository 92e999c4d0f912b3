"""The annotations that bound a pod's traffic. Source: Kubernetes, "Network Plugins", support for traffic shaping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pilothouse.machinery.quantity import InvalidQuantity, parse_quantity

INGRESS = "kubernetes.io/ingress-bandwidth"
EGRESS = "kubernetes.io/egress-bandwidth"
_LEAST, _MOST = 1000, 10**15


class Bandwidth(NamedTuple):
    """Bits a second to and from a pod; 0: no bound."""

    ingress: int = 0
    egress: int = 0


UNBOUNDED = Bandwidth()


def bandwidth(annotations: Mapping[str, str]) -> Bandwidth:
    """What the annotations of a pod ask for. Raises ValueError for what is no quantity from 1k to 1P."""
    return Bandwidth(_rate(annotations, INGRESS), _rate(annotations, EGRESS))


def _rate(annotations: Mapping[str, str], name: str) -> int:
    text = annotations.get(name)
    if text is None:
        return 0
    try:
        rate = int(parse_quantity(text))
    except InvalidQuantity:
        rate = 0
    if not _LEAST <= rate <= _MOST:
        raise ValueError(f"annotation {name}: {text!r} is no rate in bits a second from 1k to 1P, such as 10M")
    return rate
