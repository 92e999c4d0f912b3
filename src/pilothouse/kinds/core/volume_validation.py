"""Rules for a pod's volumes. Source: `ValidateVolumes` of Kubernetes' core validation.

A source that Pilothouse cannot mount is refused by name, so that no pod waits for ever for its volume.
"""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.kinds.core.claim_validation import check_claim_spec
from pilothouse.kinds.core.csi_volume import check_inline_source
from pilothouse.kinds.core.field_references import VOLUME_FIELDS, check_field_ref, check_resource_ref
from pilothouse.kinds.core.quantities import check_quantity
from pilothouse.kinds.metadata import check_template_metadata
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_HOST_PATH_TYPES = frozenset(
    {"", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"}
)
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_TOKEN_SECONDS = (600, 2**32)


def check_volumes(volumes: list[Obj], path: str, problems: Problems) -> frozenset[str]:
    """Checks the volumes of a pod spec; returns the names of the good ones, which mounts may refer to."""
    good: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        name = volume.get("name") or ""
        found = Problems()
        _check_source(volume, at, found)
        if not name:
            found.required(f"{at}.name")
        else:
            found.invalid_each(f"{at}.name", name, names.dns1123_label(name))
        if name in good:
            found.duplicate(f"{at}.name", name)
        if not found:
            good.add(name)
        problems += found
    return frozenset(good)


def _check_source(volume: Obj, path: str, problems: Problems) -> None:
    given = [key for key in volume if key != "name"]
    if not given:
        problems.required(path, "must specify a volume type")
        return
    first, *others = sorted(given, key=_RANK.__getitem__) if len(given) > 1 else given
    check = _SOURCES.get(first)
    if check is None:
        problems.forbidden(
            f"{path}.{first}",
            f"volumes of this type cannot be mounted by Pilothouse; it mounts {', '.join(sorted(_SOURCES))}",
        )
    else:
        check(volume[first], f"{path}.{first}", problems)
    for other in others:
        problems.forbidden(f"{path}.{other}", "may not specify more than 1 volume type")


def _empty_dir(source: Obj, path: str, problems: Problems) -> None:
    medium = source.get("medium") or ""
    if not medium.startswith("HugePages-"):
        problems.one_of(f"{path}.medium", medium, ("Memory", "HugePages", "HugePages-2Mi"), required=False)
    if "sizeLimit" in source:
        check_quantity(source["sizeLimit"], f"{path}.sizeLimit", problems)


def _host_path(source: Obj, path: str, problems: Problems) -> None:
    host_path = source.get("path") or ""
    if not host_path:
        problems.required(f"{path}.path")
        return
    if ".." in host_path.split("/"):
        problems.invalid(f"{path}.path", host_path, "must not contain '..'")
    if source.get("type") not in _HOST_PATH_TYPES:
        problems.unsupported(f"{path}.type", source.get("type"), _HOST_PATH_TYPES)


def _image(source: Obj, path: str, problems: Problems) -> None:
    if not source.get("reference"):
        problems.required(f"{path}.reference")
    problems.one_of(f"{path}.pullPolicy", source.get("pullPolicy"), PULL_POLICIES)


def _config_map(source: Obj, path: str, problems: Problems) -> None:
    _named_files(source, "name", path, problems)


def _secret(source: Obj, path: str, problems: Problems) -> None:
    _named_files(source, "secretName", path, problems)


def _named_files(source: Obj, name_key: str, path: str, problems: Problems) -> None:
    if not source.get(name_key):
        problems.required(f"{path}.{name_key}")
    check_mode(source.get("defaultMode"), f"{path}.defaultMode", problems)
    _key_paths(source, path, problems)


def _key_paths(source: Obj, path: str, problems: Problems) -> None:
    for index, item in enumerate(source.get("items") or ()):
        at = f"{path}.items[{index}]"
        if not item.get("key"):
            problems.required(f"{at}.key")
        check_local_path(item.get("path") or "", f"{at}.path", problems)
        check_mode(item.get("mode"), f"{at}.mode", problems)


def _downward_api(source: Obj, path: str, problems: Problems) -> None:
    check_mode(source.get("defaultMode"), f"{path}.defaultMode", problems)
    _downward_items(source, path, problems)


def _downward_items(source: Obj, path: str, problems: Problems) -> None:
    for item in source.get("items") or ():
        at = path  # as upstream, which does not say which one
        check_local_path(item.get("path") or "", f"{at}.path", problems)
        if "fieldRef" in item:
            check_field_ref(item["fieldRef"], VOLUME_FIELDS, f"{at}.fieldRef", problems)
            if "resourceFieldRef" in item:
                problems.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
        elif "resourceFieldRef" in item:
            check_resource_ref(item["resourceFieldRef"], True, f"{at}.resourceFieldRef", problems)
        else:
            problems.required(at, "one of fieldRef and resourceFieldRef is required")
        check_mode(item.get("mode"), f"{at}.mode", problems)


def _projected(source: Obj, path: str, problems: Problems) -> None:
    check_mode(source.get("defaultMode"), f"{path}.defaultMode", problems)
    taken: set[str] = set()
    for index, projection in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        for key in projection:
            if key not in _PROJECTIONS:
                problems.forbidden(f"{at}.{key}", f"cannot be projected by Pilothouse; use {', '.join(_PROJECTIONS)}")
        for kind, check in _PROJECTIONS.items():
            if kind in projection:
                check(projection[kind], f"{at}.{kind}", problems)
                if kind != "serviceAccountToken":
                    _check_taken(projection[kind], taken, path, problems)
        if len(projection) > 1:
            problems.forbidden(at, "may not specify more than 1 volume type per source")


def _check_taken(projection: Obj, taken: set[str], path: str, problems: Problems) -> None:
    for item in projection.get("items") or ():
        if item.get("path") in taken:
            problems.invalid(path, projection.get("name", item["path"]), "conflicting duplicate paths")
        if item.get("path"):
            taken.add(item["path"])


def _projected_named(source: Obj, path: str, problems: Problems) -> None:
    if not source.get("name"):
        problems.required(f"{path}.name")
    _key_paths(source, path, problems)


def _token(source: Obj, path: str, problems: Problems) -> None:
    seconds, (low, high) = source.get("expirationSeconds", _TOKEN_SECONDS[0]), _TOKEN_SECONDS
    if seconds < low:
        problems.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > high:
        problems.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    check_local_path(source.get("path") or "", f"{path}.path", problems)


def _claim(source: Obj, path: str, problems: Problems) -> None:
    if not source.get("claimName"):
        problems.required(f"{path}.claimName")


def _ephemeral(source: Obj, path: str, problems: Problems) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        problems.required(f"{path}.volumeClaimTemplate")
    else:
        check_template_metadata(template.get("metadata") or {}, f"{path}.volumeClaimTemplate.metadata", problems)
        check_claim_spec(template.get("spec") or {}, f"{path}.volumeClaimTemplate.spec", problems)


def check_mode(mode: int | None, path: str, problems: Problems) -> None:
    """A file mode, as a number."""
    if mode is not None and not 0 <= mode <= 0o777:
        problems.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def check_descending_path(text: str, path: str, problems: Problems) -> bool:
    """A relative path without `..`; whether it is one."""
    if text.startswith("/"):
        problems.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        problems.invalid(path, text, "must not contain '..'")
        return False
    return True


def check_local_path(text: str, path: str, problems: Problems) -> None:
    """A path of a file inside a volume: relative, without `..`, and not of the names kept for what is atomic."""
    if not text:
        problems.required(path)
        return
    if check_descending_path(text, path, problems) and text.startswith(".."):
        problems.invalid(path, text, "must not start with '..'")


_Check = Callable[[Obj, str, Problems], None]
_SOURCES: dict[str, _Check] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "configMap": _config_map,
    "secret": _secret,
    "projected": _projected,
    "downwardAPI": _downward_api,
    "persistentVolumeClaim": _claim,
    "ephemeral": _ephemeral,
    "image": _image,
    "csi": check_inline_source,
}
# The order in which upstream looks for them; the first one found counts.
_RANK = {
    kind: rank
    for rank, kind in enumerate(
        (
            *("emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi"),
            *("glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI"),
            *("fc", "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume"),
            *("azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral", "image"),
        )
    )
}
_PROJECTIONS: dict[str, _Check] = {
    "secret": _projected_named,
    "configMap": _projected_named,
    "downwardAPI": _downward_items,
    "serviceAccountToken": _token,
}
