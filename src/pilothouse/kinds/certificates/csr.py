"""CertificateSigningRequest."""

from __future__ import annotations

import base64
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field, human_duration
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
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


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is not None:
        problems.immutable("spec", spec, section(old, "spec"))
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
    fields=lambda obj: {"spec.signerName": section(obj, "spec").get("signerName") or ""},
)
