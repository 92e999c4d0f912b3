"""Exemptions: who asks is written down by the server, and is not who grants.

To grant or deny one takes the verb `approve` on exemptions, and may not be done by whoever asked, whatever their
rights.
"""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, Attributes, Authorizer
from pilothouse.kinds.equality import same
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.machinery.objects import Obj, timestamp

_RESOURCE = Exemption.resource
_DECISION = ("approval", "decidedBy", "decidedAt")


class ExemptionRequester:
    """Writes down who asked and who decided, whatever the author put there."""

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.resource != _RESOURCE or request.object is None:
            return
        old = request.old_object or {}
        if request.subresource == "status":
            _write_decision(request.object, old, request.user.name)
        elif not request.subresource:
            spec = request.object.get("spec")
            if isinstance(spec, dict):
                before = old.get("spec") or {}
                unchanged = bool(old) and same(_asked(spec), _asked(before))
                spec["requestedBy"] = before.get("requestedBy", "") if unchanged else request.user.name


def _asked(spec: Obj) -> Obj:
    return {key: value for key, value in spec.items() if key != "requestedBy"}


def _write_decision(new: Obj, old: Obj, user: str) -> None:
    status, before = new.setdefault("status", {}), old.get("status") or {}
    if status.get("approval") != before.get("approval"):
        status |= {"decidedBy": user, "decidedAt": timestamp()}
        return
    for name in _DECISION:
        status.pop(name, None)
        if name in before:
            status[name] = before[name]


class ExemptionRights:
    """Refuses a decision by whoever asked, or by somebody without the verb `approve`."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.resource != _RESOURCE or request.subresource != "status" or request.object is None:
            return
        old = request.old_object or {}
        if (request.object.get("status") or {}).get("approval") == (old.get("status") or {}).get("approval"):
            return
        user = request.user
        if user.name == (old.get("spec") or {}).get("requestedBy"):
            raise forbidden(request, f"{user.name} asked for it; somebody else must decide")
        group, version, _, plural, _ = _RESOURCE
        asked = Attributes(user, "approve", "", True, group, version, plural, "", request.namespace, request.name)
        if not (await self._authorizer.allow(asked)).allowed:
            raise forbidden(request, "user not permitted to approve exemptions")
