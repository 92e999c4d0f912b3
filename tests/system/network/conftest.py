"""Offers the fixtures of `network_host` to the tests of this folder."""

from network_host import cluster, config, host, network, servers

__all__ = ["cluster", "config", "host", "network", "servers"]
