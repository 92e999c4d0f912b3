"""What is handed to the findings about one container of a workload. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import SILENCED, Basis, Found, Report
from pilothouse.guard.findings.risk import ADVISORIES, EPSS, EXPLOITED, EXPOSURE
from pilothouse.guard.images.live.uses import Use
from pilothouse.guard.images.match.flaw import Flaw, remedy
from pilothouse.guard.images.match.vex import NO_STATEMENTS, SILENCING, Statement, Statements, named
from pilothouse.guard.images.match.weakness import ROOT_USER, weaknesses
from pilothouse.guard.images.model import Inventory
from pilothouse.guard.images.report.base import OfBase, of_base

SOURCE: Final = "images"
NOT_SCANNED: Final = Check(
    "image-not-scanned",
    "Image is not scanned",
    Severity.MEDIUM,
    "security",
    "What is in it, or what is known of that, is unknown: it must not pass for clean.",
    "# see the reason; `pilothouse vulndb update` brings data up to date",
)
NO_DATA: Final = Check(
    "vulnerability-data-missing",
    "There is no vulnerability data",
    Severity.LOW,
    "security",
    "No image is scanned for vulnerable packages until there is.",
    "pilothouse vulndb update               # or --from a copied folder, without a network",
)
OLD_DATA: Final = Check(
    "vulnerability-data-old",
    "Vulnerability data is old",
    Severity.MEDIUM,
    "security",
    "What became known since then is not found.",
    "pilothouse vulndb update               # or --from a copied folder, without a network",
)
OLD_BASE: Final = Check(
    "image-base-outdated",
    "Base image is outdated",
    Severity.LOW,
    "hygiene",
    "It is months old, or flaws that come from it have a fix: building again on a newer one mends all of them at once.",
    "pilothouse scan IMAGE --base BASE      # what the base as it is now lacks; then build again on it",
)
CLUSTER: Final = Ref("v1", "Namespace", "", "kube-system")
DATA_SUBJECT: Final = "data"
_SEVERITIES: Final[Mapping[str, Severity]] = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "unknown": Severity.MEDIUM,
    "low": Severity.LOW,
}
_PODS: Final = 8
_REASON: Final = 400


class Scanned:
    """What is known of an image now: an inventory and its flaws, or why there is none."""

    __slots__ = ("flaws", "inventory", "reasons")

    def __init__(
        self, inventory: Inventory | None, flaws: tuple[Flaw, ...] = (), reasons: tuple[str, ...] = ()
    ) -> None:
        self.inventory = inventory
        self.flaws = flaws
        self.reasons = reasons


def report_of(
    use: Use, scanned: Mapping[str, Scanned], generation: int, vex: Statements = NO_STATEMENTS, now: float = 0.0
) -> Report:
    """All findings of one container at a time in seconds since 1970; of images that nothing is known of yet there are
    none."""
    found: list[Found] = []
    for image, pods in sorted(use.pods.items()):
        about = scanned.get(image)
        if about is not None:
            found += _of_image(use, image, sorted(pods), about, vex, now)
    basis = Basis(" ".join(sorted(use.pods)), "", str(generation))
    return Report(SOURCE, use.subject, tuple(found), basis)


def _of_image(use: Use, image: str, pods: list[str], about: Scanned, vex: Statements, now: float) -> Iterable[Found]:
    common = {"image": image, "pods": _listed(pods)}
    if use.exposure.ways:
        common |= {"exposure": ", ".join(use.exposure.ways), EXPOSURE: str(use.exposure.level)}
    inventory = about.inventory
    subject = named(inventory.name if inventory else image, (image, inventory.digest if inventory else ""))
    for flaw in about.flaws:
        if flaw.severity in _SEVERITIES:
            yield _flaw(use, flaw, {**common, **_said(vex.verdict(flaw, subject))}, inventory)
    if about.inventory is not None:
        for weakness in weaknesses(about.inventory):
            if weakness.check is not ROOT_USER:  # the checks of the pod itself say so already
                finding = Finding(weakness.check, use.owner, weakness.message, use.container, f"/{weakness.path}")
                yield Found(finding, {**common, **_layer(about.inventory, (weakness.layer,))})
        base = of_base(about.inventory, about.flaws, now)
        if base is not None and base.outdated:
            yield _base(use, base, common)
    if about.reasons:
        text = "; ".join(about.reasons)[:_REASON]
        yield Found(Finding(NOT_SCANNED, use.owner, f"is not scanned: {text}", use.container, "image"), common)


def _base(use: Use, base: OfBase, common: Mapping[str, str]) -> Found:
    """Told by the day it was made, not by its age, which would be another finding every day."""
    name = base.name or "a base"
    made = f", made {base.created[:10]}" if base.created else ""
    count = len(base.flaws)
    flaws = f"; {count} flaw{'s' * (count != 1)} from it, {base.fixable} with a fix" if count else ""
    evidence = {"base": base.name, "base-digest": base.digest, "base-created": base.created[:10]}
    finding = Finding(OLD_BASE, use.owner, f"is built on {name}{made}{flaws}", use.container, "image")
    return Found(finding, {**common, **{key: value for key, value in evidence.items() if value}})


def _said(statement: Statement | None) -> dict[str, str]:
    if statement is None:
        return {}
    return {SILENCED if statement.status in SILENCING else "vex": str(statement)}


def _flaw(use: Use, flaw: Flaw, common: Mapping[str, str], inventory: Inventory | None) -> Found:
    severity = Severity.CRITICAL if flaw.kev else _SEVERITIES[flaw.severity]
    fix = f"fixed in {flaw.fixed}" if flaw.fixed else flaw.reason or flaw.state
    check = Check(
        flaw.id,
        f"{flaw.id} in {flaw.package}",
        severity,
        "security",
        flaw.summary or f"{flaw.package} {flaw.version} is vulnerable.",
        remedy(flaw),
        standards=" ".join(flaw.references),
    )
    evidence = {
        **common,
        ADVISORIES: " ".join(flaw.ids),
        "package": f"{flaw.type}/{flaw.package} {flaw.version}",
        "fixed": flaw.fixed,
        "installed": " ".join(flaw.packages[:_PODS]),
        "path": " ".join(f"/{path}" for path in flaw.paths[:2]),
        "score": f"{flaw.score:.1f} {flaw.vector}" if flaw.score else "",
        EPSS: f"{flaw.epss:.4f}" if flaw.epss is not None else "",
        EXPLOITED: f"since {flaw.kev}" + (" (ransomware)" if flaw.ransomware else "") if flaw.kev else "",
        **_layer(inventory, flaw.layers),
    }
    message = f"has {flaw.package} {flaw.version} with {flaw.id} ({fix})"
    finding = Finding(check, use.owner, message, use.container, f"{flaw.type}/{flaw.package}")
    return Found(finding, {key: value for key, value in evidence.items() if value})


def _layer(inventory: Inventory | None, numbers: tuple[int, ...]) -> dict[str, str]:
    layers = inventory.layers if inventory is not None else ()
    found = [layers[number] for number in numbers if 0 <= number < len(layers)]
    if not found:
        return {}
    told = {"layer": " ".join(layer.digest for layer in found[:2])}
    if found[0].created_by:
        told["layer-made-by"] = found[0].created_by[:200]
    return told


def _listed(names: list[str]) -> str:
    return " ".join(names[:_PODS]) + (f" and {len(names) - _PODS} more" if len(names) > _PODS else "")


def data_report(feeds: int, age_days: float, longest_days: float) -> Report:
    """The finding about the data itself, when there is none or it is old."""
    found: tuple[Found, ...] = ()
    if not feeds:
        found = (Found(Finding(NO_DATA, CLUSTER, "no vulnerability data has been taken in")),)
    elif age_days > longest_days:
        finding = Finding(OLD_DATA, CLUSTER, f"was last looked for more than {longest_days:.0f} days ago")
        found = (Found(finding, {"days": f"{age_days:.0f}"}),)
    return Report(SOURCE, DATA_SUBJECT, found)
