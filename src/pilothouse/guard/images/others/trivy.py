"""Trivy's report: `trivy … --format json`. Source: Trivy documentation, "Reporting" (JSON, schema version 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pilothouse.guard.images.inventory.sbom import package_of
from pilothouse.guard.images.match.flaw import END_OF_LIFE, FIXED, UNFIXED, WONT_FIX
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import NOT_JSON, Inventory, Layer, NotReadable, Package, Placed, System, Trace
from pilothouse.guard.images.others.entries import Entry, RiskOf, flaws_of

TOOL: Final = "trivy"
_STATES: Final = {"fixed": FIXED, "will_not_fix": WONT_FIX, "fix_deferred": WONT_FIX, "end_of_life": END_OF_LIFE}
_TYPES: Final = {"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "chainguard": "apk"}
_LANGUAGES: Final = {
    **dict.fromkeys(("python-pkg", "pip", "pipenv", "poetry", "uv"), "pypi"),
    **dict.fromkeys(("node-pkg", "npm", "yarn", "pnpm"), "npm"),
    **dict.fromkeys(("jar", "pom", "gradle"), "maven"),
    **dict.fromkeys(("gobinary", "gomod"), "golang"),
    **dict.fromkeys(("gemspec", "bundler"), "gem"),
    **dict.fromkeys(("rustbinary", "cargo"), "cargo"),
    **dict.fromkeys(("composer", "composer-vendor"), "composer"),
    **dict.fromkeys(("nuget", "dotnet-core", "packages-props"), "nuget"),
}
"""Package URL types of Trivy's own, for reports without package URLs."""


class _Layer(msgspec.Struct, rename={"digest": "Digest", "diff_id": "DiffID"}):
    digest: str = ""
    diff_id: str = ""


class _Identifier(msgspec.Struct, rename={"purl": "PURL"}):
    purl: str = ""


class _Package(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")
    name: str = ""
    version: str = ""
    release: str = ""
    src_name: str = ""
    src_version: str = ""
    identifier: _Identifier | None = None
    file_path: str = ""
    layer: _Layer | None = None


class _Scores(msgspec.Struct):
    v2: str = msgspec.field(default="", name="V2Vector")
    v3: str = msgspec.field(default="", name="V3Vector")
    v4: str = msgspec.field(default="", name="V40Vector")


class _Vulnerability(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="VulnerabilityID")
    pkg_name: str
    installed_version: str = ""
    vendor_ids: list[str] | None = msgspec.field(default=None, name="VendorIDs")
    pkg_id: str = msgspec.field(default="", name="PkgID")
    pkg_path: str = ""
    pkg_identifier: _Identifier | None = None
    fixed_version: str = ""
    status: str = ""
    layer: _Layer | None = None
    primary_url: str = msgspec.field(default="", name="PrimaryURL")
    title: str = ""
    description: str = ""
    severity: str = ""
    cvss: dict[str, _Scores] | None = msgspec.field(default=None, name="CVSS")


class _Secret(msgspec.Struct, rename="pascal"):
    title: str = ""
    category: str = ""
    layer: _Layer | None = None


class _Found(msgspec.Struct, rename="pascal"):
    target: str = ""
    type: str = ""
    packages: list[_Package] | None = None
    vulnerabilities: list[_Vulnerability] | None = None
    secrets: list[_Secret] | None = None


class _System(msgspec.Struct, rename="pascal"):
    family: str = ""
    name: str = ""


class _Metadata(msgspec.Struct, rename="pascal"):
    os: _System | None = msgspec.field(default=None, name="OS")
    diff_ids: list[str] | None = msgspec.field(default=None, name="DiffIDs")
    repo_digests: list[str] | None = None
    image_config: dict[str, Any] | None = None


class _Report(msgspec.Struct, rename="pascal"):
    schema_version: int
    artifact_name: str = ""
    artifact_type: str = ""
    metadata: _Metadata | None = None
    results: list[_Found] | None = None


def is_trivy(tree: object) -> bool:
    """True for a report of Trivy's current form."""
    return isinstance(tree, dict) and "SchemaVersion" in tree and "ArtifactName" in tree


def trivy_result(data: bytes, name: str, risk: RiskOf) -> Result:
    """The report as our own result. Raises NotReadable."""
    try:
        report = msgspec.json.decode(data, type=_Report)
    except NOT_JSON as error:
        raise NotReadable(f"{name}: no report of Trivy that we understand: {error}") from error
    if report.schema_version != 2:
        raise NotReadable(f"{name}: Trivy's schema {report.schema_version}; 2 is read")
    metadata, results = report.metadata or _Metadata(), report.results or []
    inventory = _inventory(report, metadata, results)
    layers = {layer.diff_id: number for number, layer in enumerate(inventory.layers)}
    entries = [entry for found in results for entry in _entries(found, layers)]
    missing = [] if results else ["Trivy names nothing that it looked at"]
    unnamed = sum(not entry.package.type for entry in entries)
    if unnamed:
        missing.append(f"{unnamed} vulnerabilities in packages of a type that is not known here")
    return Result(inventory, flaws_of(entries, TOOL, risk), tuple(missing))


def _inventory(report: _Report, metadata: _Metadata, results: list[_Found]) -> Inventory:
    system = System(metadata.os.family, metadata.os.name) if metadata.os is not None and metadata.os.family else None
    layers = tuple(Layer(diff_id, diff_id) for diff_id in metadata.diff_ids or ())
    numbers = {layer.diff_id: number for number, layer in enumerate(layers)}
    placed = [
        Placed(_package(package, found.type), _number(package.layer, numbers))
        for found in results
        for package in found.packages or ()
    ]
    traces = [
        (Trace("secret", found.target.lstrip("/"), secret.title or secret.category), _number(secret.layer, numbers))
        for found in results
        for secret in found.secrets or ()
    ]
    digests = metadata.repo_digests or []
    config = (metadata.image_config or {}).get("config")
    return Inventory(
        report.artifact_name,
        "image" if report.artifact_type == "container_image" else "directory",
        digests[0].rpartition("@")[2] if digests else "",
        system,
        layers,
        tuple(placed),
        tuple(traces),
        user=str(config.get("User") or "") if isinstance(config, dict) else "unknown",
        notes=("as Trivy reports it",),
    )


def _number(layer: _Layer | None, numbers: dict[str, int]) -> int:
    return numbers.get(layer.diff_id, -1) if layer is not None else -1


def _package(package: _Package, kind: str) -> Package:
    found = _of_url(package.identifier)
    version = f"{package.version}-{package.release}" if package.release else package.version
    kind = found.type if found is not None else _type(kind)
    version = found.version if found is not None and found.version else version
    name = found.name if found is not None else package.name
    source = package.src_name if package.src_name != name else ""
    return Package(kind, name, version, source, path=package.file_path)


def _of_url(identifier: _Identifier | None) -> Package | None:
    return package_of(identifier.purl)[0] if identifier is not None and identifier.purl else None


def _type(kind: str) -> str:
    return _TYPES.get(kind) or _LANGUAGES.get(kind, "")


def _entries(found: _Found, layers: dict[str, int]) -> Iterator[Entry]:
    sources = {package.id: package.src_name for package in found.packages or () if package.id and package.src_name}
    for entry in found.vulnerabilities or ():
        package = _of_url(entry.pkg_identifier) or Package(_type(found.type), entry.pkg_name, entry.installed_version)
        source = sources.get(entry.pkg_id, package.source)
        fixed = entry.fixed_version.partition(",")[0].strip()
        yield Entry(
            (entry.id, *(entry.vendor_ids or ())),
            msgspec.structs.replace(
                package, version=entry.installed_version, source=source if source != package.name else ""
            ),
            entry.severity,
            tuple(pair for scores in (entry.cvss or {}).values() for pair in _vectors(scores)),
            FIXED if fixed else _STATES.get(entry.status, UNFIXED),
            fixed,
            entry.title or entry.description.partition("\n")[0],
            (entry.primary_url,) if entry.primary_url else (),
            entry.pkg_path.lstrip("/"),
            _number(entry.layer, layers),
        )


def _vectors(scores: _Scores) -> Iterator[tuple[str, str]]:
    yield from (
        (kind, vector)
        for kind, vector in (("CVSS_V2", scores.v2), ("CVSS_V3", scores.v3), ("CVSS_V4", scores.v4))
        if vector
    )
