"""Warns of `externalIPs` that are no node's: no node will answer there.

A Service's external address draws traffic meant for that address into the Service (CVE-2020-8554), so nodes take only
addresses of their own. Upstream takes any, or refuses all (plugin DenyServiceExternalIPs).
"""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.service import Service


class ExternalAddresses:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def validate(self, request: AdmissionRequest) -> None:
        if request.resource != Service.resource or request.subresource or request.object is None:
            return
        asked = (request.object.get("spec") or {}).get("externalIPs") or []
        if not asked:
            return
        known = {
            entry.get("address")
            for node in self._objects.list(Node.resource)
            for entry in (node.get("status") or {}).get("addresses") or ()
        }
        request.warnings += [
            f"spec.externalIPs[{index}]: {address} is not in the status of any node: only a node that has this address"
            " on a network device answers there"
            for index, address in enumerate(asked)
            if address not in known
        ]
