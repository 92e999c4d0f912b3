"""ServiceCIDR.

Source of the rules: KEP-1880 and the validation of networking/v1.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import IMMUTABLE, Problems, section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Obj, Resource

_MOST_RANGES = 2


class ServiceCIDRSpec(View):
    cidrs: list[str] = []


class ServiceCIDRStatus(View):
    conditions: list[Condition] = []


class ServiceCIDR(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", False)

    spec: ServiceCIDRSpec = msgspec.field(default_factory=ServiceCIDRSpec)
    status: ServiceCIDRStatus = msgspec.field(default_factory=ServiceCIDRStatus)

    @property
    def ready(self) -> bool:
        """Whether addresses may be given out of it."""
        return any(entry.type == "Ready" and entry.status == "True" for entry in self.status.conditions)


def _ranges(obj: Obj) -> list[str]:
    return section(obj, "spec").get("cidrs") or []


def _check(obj: Obj, old: Obj | None, problems: Problems) -> None:
    if old is not None:
        _check_update(_ranges(obj), _ranges(old), problems)
        return
    ranges, path = _ranges(obj), "spec.cidrs"
    if not ranges:
        problems.required(path, "at least one CIDR required")
    elif len(ranges) > _MOST_RANGES:
        problems.invalid(path, ranges, f"may only hold up to {_MOST_RANGES} values")
        return
    families = [_check_range(f"{path}[{index}]", text, problems) for index, text in enumerate(ranges)]
    if len(ranges) == _MOST_RANGES and families[0] == families[1] != 0:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        problems.invalid(path, ranges, detail)


def _check_range(path: str, text: str, problems: Problems) -> int:
    """The IP version of a range, 0 of what is none."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        problems.invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        return 0
    if "/" not in text or str(network) != text:
        problems.invalid(path, text, f'must be in canonical form ("{network}")')
        return 0
    return network.version


def _check_update(new: list[str], old: list[str], problems: Problems) -> None:
    """Ranges stay; a second one, of the other IP version, may be added."""
    if len(new) == len(old) or (len(old) == 1 and len(new) == _MOST_RANGES):
        for index, text in enumerate(old):
            problems.immutable(f"spec.cidrs[{index}]", new[index], text)
        if len(new) > len(old):
            _check_range("spec.cidrs[1]", new[1], problems)
    else:
        problems.invalid("spec.cidrs", new, IMMUTABLE)


KIND = Kind(
    view=ServiceCIDR,
    subresources=frozenset({"status"}),
    columns=(NAME, Column("CIDRs", lambda obj: ",".join(_ranges(obj)), "Its ranges."), AGE),
    rules=_check,
)
