"""Certificate requests say truly who made them, and only those with the right approve or sign them.

Source: Kubernetes documentation, "Certificates and Certificate Signing Requests"; upstream's admission plugins
CertificateApproval, CertificateSigning and CertificateSubjectRestriction.
"""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, Attributes, Authorizer
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.machinery.objects import Obj

_RESOURCE = CertificateSigningRequest.resource


class CertificateRequester:
    """Writes the requester into a new request, whatever its author put there."""

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.resource != _RESOURCE or request.operation != "CREATE" or request.object is None:
            return
        user = request.user
        spec = request.object.setdefault("spec", {})
        for field in ("username", "uid", "groups", "extra"):
            spec.pop(field, None)
        spec |= {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}


class CertificateRights:
    """Asks for the verbs approve and sign on the request's signer."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.resource != _RESOURCE or request.object is None or request.operation != "UPDATE":
            return
        old: Obj = request.old_object or {}
        signer = (old.get("spec") or {}).get("signerName", "")
        if request.subresource == "approval":
            await self._check(request, "approve", signer)
        elif request.subresource == "status":
            new_status, old_status = request.object.get("status") or {}, old.get("status") or {}
            if new_status.get("certificate") != old_status.get("certificate"):
                await self._check(request, "sign", signer)

    async def _check(self, request: AdmissionRequest, verb: str, signer: str) -> None:
        domain = signer.partition("/")[0]
        for name in (signer, f"{domain}/*"):
            asked = Attributes(request.user, verb, "", True, _RESOURCE.group, "v1", "signers", "", "", name)
            if (await self._authorizer.allow(asked)).allowed:
                return
        raise forbidden(request, f'user not permitted to {verb} requests with signerName "{signer}"')
