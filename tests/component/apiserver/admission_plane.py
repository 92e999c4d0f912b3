"""An API server with the chain that a real one has, and what a client of it hears."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pilothouse.apiserver.admission.steps import Validator
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.chain import Admission, AdmissionRequest, ObjectReader
from pilothouse.apiserver.reader import StoreReader
from pilothouse.client.wire import Request, User
from pilothouse.kinds.catalogue import KINDS
from pilothouse.machinery.errors import from_status
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ADMIN, ControlPlane

RESOURCES = {kind.resource.plural: kind.resource for kind in reversed(KINDS)}


def _key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class _Listening:
    """The chain's admission, overheard."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.annotations: dict[str, str] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        await self._admission.mutate(request)
        self.annotations = request.annotations

    async def validate(self, request: AdmissionRequest) -> None:
        await self._admission.validate(request)
        self.annotations = request.annotations

    async def admit(self, request: AdmissionRequest) -> None:
        await self._admission.admit(request)
        self.annotations = request.annotations

    async def close(self) -> None:
        await self._admission.close()

    def reserved(self, request: AdmissionRequest) -> AbstractAsyncContextManager[None]:
        return self._admission.reserved(request)


class AdmissionPlane:
    """`await plane.create("pods", …)`, in the namespace default; errors are raised as clients would."""

    def __init__(self, extra: Callable[[ObjectReader], Sequence[Validator]] = lambda objects: ()) -> None:
        store = MemoryStore()
        issuer = "https://kubernetes.default.svc.cluster.local"
        chain = build_chain(store, _key(), issuer, extra(StoreReader(store)))
        self._listening = _Listening(chain.admission)
        self.plane = ControlPlane(store=store, chain=replace(chain, admission=self._listening))
        self.warnings: list[str] = []

    async def __aenter__(self) -> AdmissionPlane:
        for name in ("default", "kube-system", "kube-node-lease"):
            levels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "warn")}
            metadata = {"name": name, "labels": levels}
            await self.create("namespaces", {"metadata": metadata})
            await self.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.plane.__aexit__(kind, error, trace)

    @property
    def annotations(self) -> dict[str, str]:
        """What the last write that was admitted has for the audit log."""
        return self._listening.annotations

    async def create(self, plural: str, tree: Obj, user: User = ADMIN, **query: str) -> Obj:
        """Creates an object."""
        resource = RESOURCES[plural]
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **tree}
        namespace = tree["metadata"].get("namespace", "default")
        return await self.send("POST", resource.path(namespace), body, user, **query)

    async def post(self, path: str, body: Obj) -> Obj:
        """Posts a body to a path."""
        return await self.send("POST", path, body)

    async def patch(self, plural: str, name: str, patch: Obj, user: User = ADMIN) -> Obj:
        """Merges a patch."""
        return await self.send("PATCH", RESOURCES[plural].path("default", name), patch, user)

    async def get(self, plural: str, name: str) -> Obj:
        """Reads an object."""
        return await self.send("GET", RESOURCES[plural].path("default", name))

    async def delete(self, plural: str, name: str, user: User = ADMIN) -> Obj:
        """Deletes an object."""
        return await self.send("DELETE", RESOURCES[plural].path("default", name), user=user)

    async def allow(self, user: str, verb: str, group: str, plural: str) -> None:
        """Grants a right."""
        rules = [{"apiGroups": [group], "resources": [plural], "verbs": [verb]}]
        await self.create("clusterroles", {"metadata": {"name": user}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
        subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
        body = {"metadata": {"name": user}, "roleRef": reference, "subjects": subjects}
        await self.create("clusterrolebindings", body)

    async def send(self, method: str, path: str, body: Obj | None = None, user: User = ADMIN, **query: str) -> Any:
        """Sends a request; `warnings` are those of its answer."""
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = b"" if body is None else orjson.dumps(body)
        request = Request(method, path, list(query.items()), {"content-type": media}, data, user)
        response = await self.plane.api.handle(request)
        header = response.headers.get("warning", "")
        self.warnings = [entry.replace('\\"', '"') for entry in re.findall(r'299 - "((?:[^"\\]|\\.)*)"', header)]
        if response.status >= 400:
            raise from_status(orjson.loads(response.body), response.status)
        return orjson.loads(response.body)
