"""Reads what decides how far rights reach, through the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pilothouse.client.client import Client
from pilothouse.guard.access.rights import rights_of
from pilothouse.guard.access.spread import Cluster, PodFacts
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding

LEVEL = "pod-security.kubernetes.io/enforce"
_ENDED = frozenset({"Succeeded", "Failed"})


async def read_cluster(client: Client) -> Cluster:
    """The cluster as it is now. Raises ApiError."""
    rights = rights_of(
        (await client.list(ClusterRole)).items,
        (await client.list(Role)).items,
        (await client.list(ClusterRoleBinding)).items,
        (await client.list(RoleBinding)).items,
    )
    accounts = {(found.namespace, found.name): found for found in (await client.list(ServiceAccount)).items}
    pods = []
    # Whole: what makes a pod own its node is more than the view names.
    for tree in orjson.loads(await client.request("GET", Pod.resource.path()))["items"] or ():
        if (tree.get("status") or {}).get("phase") not in _ENDED:
            name = tree["spec"].get("serviceAccountName") or "default"
            account = accounts.get((tree["metadata"]["namespace"], name))
            mounted = account.automount_service_account_token if account is not None else None
            pods.append(pod_facts(tree, mounted is not False))
    privileged = {
        space.name
        for space in (await client.list(Namespace)).items
        if space.metadata.labels.get(LEVEL) == "privileged" or space.name == "kube-system"
    }
    nodes = [node.name for node in (await client.list(Node)).items]
    return Cluster(rights, sorted(accounts), pods, frozenset(privileged), nodes)


def pod_facts(pod: Mapping[str, Any], mounted: bool) -> PodFacts:
    """What matters of a pod's tree; `mounted` is what its service account says of mounting the token."""
    spec, meta = pod.get("spec") or {}, pod["metadata"]
    own = spec.get("automountServiceAccountToken")
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    privileged = any((container.get("securityContext") or {}).get("privileged") for container in containers)
    paths = any(volume.get("hostPath") for volume in spec.get("volumes") or ())
    return PodFacts(
        meta.get("namespace", ""),
        meta.get("name", ""),
        spec.get("serviceAccountName") or "default",
        spec.get("nodeName") or "",
        mounted if own is None else bool(own),
        bool(privileged or paths or spec.get("hostPID")),
        tuple(sorted(set(_secrets(spec)) - {""})),
    )


def _secrets(spec: Mapping[str, Any]) -> Iterator[str]:
    """The Secrets that a pod's spec names in volumes, variables and for pulling images."""
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for secret in (source.get("secret") or {} for source in sources):
            yield secret.get("secretName") or secret.get("name") or ""
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for source in container.get("envFrom") or ():
            yield (source.get("secretRef") or {}).get("name", "")
        for variable in container.get("env") or ():
            yield ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", "")
    for pull in spec.get("imagePullSecrets") or ():
        yield pull.get("name", "")
