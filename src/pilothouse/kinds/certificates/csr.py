"""CertificateSigningRequest."""

from __future__ import annotations

import base64
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field, human_duration
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section, shown
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class CertificateSigningRequestSpec(View):
    """`request` is a base64 PEM certificate request."""

    request: str = ""
    signer_name: str = ""
    expiration_seconds: int | None = None
    usages: list[str] = []
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class CertificateSigningRequestStatus(View):
    """`certificate` is base64 PEM."""

    conditions: list[Condition] = []
    certificate: str = ""


class CertificateSigningRequest(Object):
    resource: ClassVar[Resource] = Resource(
        "certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", False
    )

    spec: CertificateSigningRequestSpec = msgspec.field(default_factory=CertificateSigningRequestSpec)
    status: CertificateSigningRequestStatus = msgspec.field(default_factory=CertificateSigningRequestStatus)


_PEM_HEADER = b"-----BEGIN CERTIFICATE REQUEST-----"
_MIN_SECONDS = 600
_DECISIONS = ("Approved", "Denied", "Failed")
_USAGES = frozenset(
    {
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    }
)


def _keep_spec(new: Obj, old: Obj) -> None:
    """A request stays what was asked for: what an update says of it is passed over, as upstream does."""
    new["spec"] = dict(section(old, "spec"))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    _check_conditions(section(obj, "status").get("conditions") or [], problems)
    if old is not None:
        _check_decision_stays(obj, old, problems)
        return
    _check_request(spec.get("request") or "", problems)
    signer = spec.get("signerName") or ""
    if not signer:
        problems.required("spec.signerName")
    else:
        _check_signer(signer, problems)
    usages = spec.get("usages") or []
    if not usages:
        problems.required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            problems.unsupported(f"spec.usages[{index}]", usage, _USAGES)
        if usage in usages[:index]:
            problems.duplicate(f"spec.usages[{index}]", usage)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        problems.invalid(
            "spec.expirationSeconds", seconds, f"may not specify a duration less than {_MIN_SECONDS} seconds"
        )


def _check_conditions(conditions: list[Obj], problems: Problems) -> None:
    types = [condition.get("type") or "" for condition in conditions]
    for index, condition in enumerate(conditions):
        path, kind = f"status.conditions[{index}]", types[index]
        if not kind:
            problems.required(f"{path}.type")
        elif kind in types[:index]:
            problems.duplicate(f"{path}.type", kind)
        if kind in _DECISIONS and condition.get("status") != "True":
            problems.unsupported(f"{path}.status", condition.get("status") or "", ("True",))
    if "Approved" in types and "Denied" in types:
        problems.invalid("status.conditions", types, "Approved and Denied conditions are mutually exclusive")


def _check_decision_stays(obj: Obj, old: Obj, problems: Problems) -> None:
    """Approval, denial and failure are final."""
    now = {condition.get("type") for condition in section(obj, "status").get("conditions") or ()}
    for condition in section(old, "status").get("conditions") or ():
        if condition.get("type") in _DECISIONS and condition.get("type") not in now:
            problems.forbidden(
                "status.conditions", f"updates may not remove a condition of type {shown(condition.get('type'))}"
            )


def _check_request(request: str, problems: Problems) -> None:
    """Only that it is a PEM certificate request; the signer reads what it asks for."""
    try:
        pem = base64.b64decode(request, validate=True)
    except ValueError:
        problems.invalid("spec.request", "<contents not shown>", "must be base64 of a PEM certificate request")
        return
    if not pem.lstrip().startswith(_PEM_HEADER):
        problems.invalid("spec.request", "<contents not shown>", "PEM block type must be CERTIFICATE REQUEST")


def _check_signer(signer: str, problems: Problems) -> None:
    domain, slash, path = signer.partition("/")
    if not slash or not path:
        problems.invalid(
            "spec.signerName", signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        )
    elif "." not in domain:
        problems.invalid("spec.signerName", signer, "should be a domain with at least two segments separated by dots")
    else:
        problems.invalid_each("spec.signerName", signer, names.dns1123_subdomain(domain))


def _condition(obj: Obj) -> str:
    status = section(obj, "status")
    types = {condition.get("type") for condition in status.get("conditions") or ()}
    text = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    return text + (",Failed" if "Failed" in types else "") + (",Issued" if status.get("certificate") else "")


def _duration(obj: Obj) -> str:
    seconds = section(obj, "spec").get("expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


KIND = Kind(
    view=CertificateSigningRequest,
    short_names=("csr",),
    subresources=frozenset({"status", "approval"}),
    columns=(
        NAME,
        AGE,
        Column("SignerName", field("spec", "signerName"), "Who is asked to sign."),
        Column("Requestor", field("spec", "username"), "Who asks."),
        Column("RequestedDuration", _duration, "For how long the certificate shall hold."),
        Column("Condition", _condition, "Pending, Approved or Denied, and whether it was issued."),
    ),
    rules=_rules,
    on_update=_keep_spec,
    fields=lambda obj: {"spec.signerName": section(obj, "spec").get("signerName") or ""},
)
