"""Every pod runs as a service account, whose token is mounted unless somebody said no.

Source of names, paths and messages: upstream's admission plugin ServiceAccount (bound token volumes).
"""

from __future__ import annotations

import asyncio

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.core.static_pod import MIRROR
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_DEFAULT = "default"
_TOKEN_SECONDS = 3607
_LOOKS, _LOOK_SECONDS = 50, 0.02
"""A pod waits up to a second for its account, which a controller makes just after a new namespace."""


class ServiceAccountStep:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or request.operation != "CREATE" or request.subresource or pod is None:
            return
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        spec = pod.setdefault("spec", {})
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(request, name)
        if _automount(spec, account):
            mount_token(spec, (account.get("metadata") or {}).get("uid") or "")
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

    async def _account(self, request: AdmissionRequest, name: str) -> Obj:
        for attempt in range(_LOOKS):
            if attempt:
                await asyncio.sleep(_LOOK_SECONDS)
            account = self._objects.get(ServiceAccount.resource, request.namespace, name)
            if account is not None:
                return account
        raise forbidden(
            request,
            f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found',
        )


def _automount(spec: Obj, account: Obj) -> bool:
    own = spec.get("automountServiceAccountToken")
    if own is None:
        own = account.get("automountServiceAccountToken")
    return True if own is None else bool(own)


def mount_token(spec: Obj, account: str = "") -> None:
    """Mounts token, CA and namespace into every container that has nothing else at that path.

    The volume's name follows from the account's uid, where upstream's is random: so the pods of a workload are the same
    to whoever keeps what it made of one (checks, Pod Security, managed fields).
    """
    volumes: list[Obj] = spec.get("volumes") or []
    existing = next(
        (volume.get("name", "") for volume in volumes if volume.get("name", "").startswith(_VOLUME_PREFIX)), ""
    )
    name = existing or _VOLUME_PREFIX + names.suffix_of(account)
    mounted = False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
        mounted = True
    if mounted and not existing:
        spec["volumes"] = [*volumes, {"name": name, "projected": _projected()}]


def _projected() -> Obj:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
    }
