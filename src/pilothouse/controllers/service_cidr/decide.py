"""Whether a ServiceCIDR is ready, and whether it may go. Pure.

Source: KEP-1880: a range may go when every address of it that a Service has is in another range.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network

from pilothouse.kinds.families import IPV4, Network, families_of
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.kinds.view import Condition

FINALIZER = "networking.k8s.io/service-cidr-finalizer"


def condition(cidr: ServiceCIDR, served: Collection[str] = (IPV4,)) -> Condition:
    """The condition Ready of a range that stays; `served` are the families of the cluster's own ranges."""
    if any(family in served for family in families_of(_networks(cidr))):
        return Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
    message = f"Services get {' and '.join(served)} addresses only: this range is not used"
    return Condition(type="Ready", status="False", reason="IPFamilyNotServed", message=message)


TERMINATING = Condition(
    type="Ready",
    status="False",
    reason="Terminating",
    message="There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


def may_go(cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[str]) -> bool:
    """Whether none of the addresses that Services have would be left without a range."""
    own = _networks(cidr)
    kept = [network for other in others if _stays(other, cidr) for network in _networks(other)]
    return not any(_within(address, own) and not _within(address, kept) for address in addresses)


def _stays(other: ServiceCIDR, cidr: ServiceCIDR) -> bool:
    return other.name != cidr.name and other.metadata.deletion_timestamp is None


def _networks(cidr: ServiceCIDR) -> list[Network]:
    return [ip_network(text) for text in cidr.spec.cidrs]


def _within(text: str, networks: Iterable[Network]) -> bool:
    address = ip_address(text)
    return any(address in network for network in networks)
