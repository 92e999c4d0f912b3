"""Which IP families a Service has: what it asks for, what it had, and what the cluster serves. Pure.

Source: `initIPFamilyFields` of Kubernetes' service registry, and KEP-563.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from pilothouse.kinds.families import FAMILIES, family_of, other_family
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_POLICY = "spec.ipFamilyPolicy"


def fill_in_families(spec: Obj, old: Obj | None, served: Sequence[str], problems: Problems) -> None:
    """Fills in `ipFamilyPolicy` and `ipFamilies`, in place, and shortens `clusterIPs` where a Service gives one up.

    `old` is the spec before an update; `served` are the cluster's families, the default one first. What is not well
    formed is left for the kind's own rules to name.
    """
    if old is not None and _prefers_as_before(spec, old):
        return
    policy = spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or _inferred_policy(spec, old)
    if not _well_formed(spec):
        return
    before = len(problems)
    if old is not None:
        _follow_update(spec, old, policy, problems)
    if policy == SINGLE:
        for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(spec.get(key) or ()) == 2:
                why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                problems.invalid(_POLICY, policy, why)
    families: list[str] = list(spec.get("ipFamilies") or ())
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == "None" or index < len(families):
            continue
        if (family := family_of(address)) in served:
            families.append(family)
        else:
            problems.invalid(
                f"spec.clusterIPs[{index}]", spec["clusterIPs"], f"{family} is not configured on this cluster"
            )
    if len(problems) > before:
        return
    free = spec.get("clusterIP") == "None" and not spec.get("selector")
    if not free:
        if policy == REQUIRE and len(served) < 2:
            problems.invalid(_POLICY, policy, "this cluster is not configured for dual-stack services")
        for index, family in enumerate(families):
            if family not in served:
                problems.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        if len(problems) > before:
            return
    families = families or [served[0]]
    # A headless Service without a selector is told its addresses by somebody else: of any family.
    if policy != SINGLE and len(families) == 1 and (free or len(served) == 2):
        families.append(other_family(families[0]))
    spec["ipFamilies"] = families


def _inferred_policy(spec: Obj, old: Obj | None) -> str:
    if old is not None and old.get("ipFamilyPolicy"):
        return str(old["ipFamilyPolicy"])
    return REQUIRE if spec.get("clusterIP") == "None" and not spec.get("selector") else SINGLE


def _well_formed(spec: Obj) -> bool:
    """Whether the fields are such that the rules below can be told about them: the kind's rules refuse all others."""
    addresses, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if spec["ipFamilyPolicy"] not in (SINGLE, PREFER, REQUIRE) or not all(family in FAMILIES for family in families):
        return False
    if (
        len(set(families)) < len(families)
        or len(addresses) > 2
        or (addresses[:1] or [""])[0] != spec.get("clusterIP", "")
    ):
        return False
    if addresses == ["None"]:
        return True
    try:
        found = [ipaddress.ip_address(address).version for address in addresses]
    except ValueError:
        return False
    matching = all(family_of(a) == family for a, family in zip(addresses, families, strict=False))
    return len(set(found)) == len(found) and matching


def _prefers_as_before(spec: Obj, old: Obj) -> bool:
    """Services that prefer both families do not change by themselves when the cluster's families do."""
    keys = ("type", "ipFamilyPolicy", "clusterIPs", "ipFamilies")
    return spec.get("ipFamilyPolicy") == PREFER and all(spec.get(key) == old.get(key) for key in keys)


def _follow_update(spec: Obj, old: Obj, policy: str, problems: Problems) -> None:
    for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        given, had = spec.get(key) or [], old.get(key) or []
        if policy == SINGLE:
            # Asking for one family alone says clearly enough what the other one's address is to become.
            if given == had and len(given) > 1:
                spec[key] = given[:1]
        elif given and len(given) < len(had):
            problems.invalid(_POLICY, policy, f"must be 'SingleStack' to release the secondary {what}")
