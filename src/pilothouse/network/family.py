"""The table's text for IPv6. Everywhere else rules are written for IPv4: the two differ in a few words only. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(r"\bip (?=saddr\b|daddr\b|to\b)|\bipv4_addr\b|\bicmp (?=port-unreachable\b)")
_SIX = {"ip ": "ip6 ", "ipv4_addr": "ipv6_addr", "icmp ": "icmpv6 "}


def batch_for(version: int, batch: str, table: str) -> str:
    """A batch of commands on `ip TABLE`, as those on `ip6 TABLE` for version 6; that of version 4 is left as it is."""
    if version == 4:
        return batch
    return _words(table).sub(lambda found: _SIX[found[0]], batch)


@lru_cache(8)
def _words(table: str) -> re.Pattern[str]:
    return re.compile(rf"{_WORDS.pattern}|\bip (?={re.escape(table)}\b)")
