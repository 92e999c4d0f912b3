"""CertificateSigningRequest."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Resource


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
