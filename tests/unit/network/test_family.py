"""The table's text for IPv6."""

from __future__ import annotations

import re

from pilothouse.network import base
from pilothouse.network.facts import NodeFacts, version_of
from pilothouse.network.family import batch_for


def test_ipv4_is_left_as_it_is() -> None:
    text = "add rule ip pilothouse leave ip saddr 10.0.0.0/8 masquerade"
    assert batch_for(4, text, "pilothouse") is text


def test_every_word_of_ipv4_is_changed_and_nothing_else() -> None:
    facts = NodeFacts("n1", ("fd00::1",), "fd00:1::/56", "fd00:2::/112", "", version=6)
    text = batch_for(6, base.commands("pilothouse", facts), "pilothouse")
    assert not re.search(r"\bip\b|ipv4|\bicmp\b", text)
    assert batch_for(6, "dnat ip to ip daddr map @m", "t") == "dnat ip6 to ip6 daddr map @m"
    # A table or a chain may have any name.
    assert batch_for(6, "flush chain ip mine ip_daddr", "mine") == "flush chain ip6 mine ip_daddr"


def test_versions_of_addresses() -> None:
    found = [version_of(text) for text in ("10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "fe80::1%eth0", "web", "")]
    assert found == [4, 6, 6, 0, 0, 0]
