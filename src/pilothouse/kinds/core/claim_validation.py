"""Rules for what a volume claim asks, shared by PersistentVolumeClaims and the claims pods carry.

Source: `ValidatePersistentVolumeClaimSpec` of Kubernetes' core validation.
"""

from __future__ import annotations

from pilothouse.kinds.core.quantities import BAD_QUANTITY, amount_of
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_FILLABLE = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def check_access_modes(modes: list[str], path: str, problems: Problems, when_none: str = "") -> None:
    """At least one access mode, each known; ReadWriteOncePod stands alone."""
    if not modes:
        problems.required(path, when_none)
    for mode in modes:
        if mode not in ACCESS_MODES:
            problems.unsupported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        problems.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def check_storage(quantities: Obj, path: str, problems: Problems) -> None:
    """A positive amount of `storage`."""
    text = quantities.get("storage")
    if text is None:
        problems.required(f"{path}[storage]")
        return
    amount = amount_of(text)
    if amount is None:
        problems.invalid(f"{path}[storage]", text, BAD_QUANTITY)
    elif amount.numerator <= 0:
        problems.invalid(f"{path}[storage]", text, "must be greater than zero")


def check_volume_mode(mode: str | None, path: str, problems: Problems) -> None:
    """A file system, or the block device itself."""
    if mode is not None and mode not in VOLUME_MODES:
        problems.unsupported(path, mode, VOLUME_MODES)


def check_claim_spec(spec: Obj, path: str, problems: Problems) -> None:
    """A claim's spec, at creation."""
    modes = spec.get("accessModes") or []
    check_access_modes(modes, f"{path}.accessModes", problems, "at least 1 access mode is required")
    check_storage((spec.get("resources") or {}).get("requests") or {}, f"{path}.resources", problems)
    check_volume_mode(spec.get("volumeMode"), f"{path}.volumeMode", problems)
    if "selector" in spec:
        check_label_selector(spec["selector"], f"{path}.selector", problems)
    if storage_class := spec.get("storageClassName"):
        problems.invalid_each(f"{path}.storageClassName", storage_class, names.dns1123_subdomain(storage_class))
    _check_sources(spec, path, problems)


def default_sources(spec: Obj) -> None:
    """Each of the two fields says what the other does. Source: `NormalizeDataSources` of upstream's strategy."""
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and ref is None:
        spec["dataSourceRef"] = dict(source)
    elif source is None and ref is not None and (ref.get("apiGroup") or "", ref.get("kind")) in _FILLABLE:
        spec["dataSource"] = {key: value for key, value in ref.items() if key != "namespace"}


def _check_sources(spec: Obj, path: str, problems: Problems) -> None:
    """Source: `validateDataSource` and `validateDataSourceRef` of upstream's core validation."""
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    for key, given in (("dataSource", source), ("dataSourceRef", ref)):
        if given is None:
            continue
        at = f"{path}.{key}"
        for name in ("name", "kind"):
            if not given.get(name):
                problems.required(f"{at}.{name}")
        group = given.get("apiGroup") or ""
        if group:
            problems.invalid_each(f"{at}.apiGroup", group, names.dns1123_subdomain(group))
        elif given.get("kind") and given["kind"] != "PersistentVolumeClaim":
            what = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            problems.invalid(f"{at}.kind", given["kind"], what)
    if ref is not None and ref.get("namespace"):
        problems.forbidden(f"{path}.dataSourceRef.namespace", "claims are filled from their own namespace only")
    elif source is not None and ref is not None and source != ref:
        problems.invalid(path, source, "must match dataSourceRef")
