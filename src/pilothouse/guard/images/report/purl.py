"""Package URLs. Source: package-url specification, types deb, apk, rpm, maven, npm, golang and others."""

from __future__ import annotations

from pilothouse.guard.images.model import Package, System


def purl_of(package: Package, system: System | None) -> str:
    """The package URL of a package."""
    from packageurl import PackageURL  # late: 30 ms

    name, namespace, version = package.name, "", package.version
    qualifiers: dict[str, str] = {}
    if package.type in ("deb", "apk", "rpm"):
        namespace = system.id if system else ""
        if package.arch:
            qualifiers["arch"] = package.arch
        if system and system.version:
            qualifiers["distro"] = f"{system.id}-{system.version}"
        version_ = package.source_version if package.source_version not in ("", package.version) else ""
        if version_ or package.source not in ("", package.name):
            source = package.source or package.name
            qualifiers["upstream"] = f"{source}@{version_}" if version_ else source
        if package.module:
            qualifiers["rpmmod"] = package.module
        if package.type == "rpm" and ":" in version:
            qualifiers["epoch"], _, version = version.partition(":")
    elif package.type == "maven":
        namespace, _, name = name.rpartition(":")
    elif package.type in ("npm", "golang", "composer"):
        namespace, _, name = name.rpartition("/")
    return PackageURL(package.type, namespace or None, name, version or None, qualifiers or None).to_string()
