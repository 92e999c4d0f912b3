"""Pods that a node takes from files of its own, and their mirrors in the API. Source: Kubernetes, "Static Pods"."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.machinery.objects import Obj

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a mirror: the UID of the static pod it shows."""
HASH = "kubernetes.io/config.hash"
SOURCE = "kubernetes.io/config.source"

_VOLUMES = ("configMap", "secret", "persistentVolumeClaim", "ephemeral")
_PROJECTED = ("configMap", "secret", "serviceAccountToken", "clusterTrustBundle", "podCertificate")
_ENV = ("configMapKeyRef", "secretKeyRef")
_ENV_FROM = ("configMapRef", "secretRef")


def api_references(spec: Obj) -> list[str]:
    """The places in a pod's spec that name objects of the API, which a static pod may not."""
    found = [key for key in ("serviceAccountName", "imagePullSecrets", "resourceClaims") if spec.get(key)]
    for index, volume in enumerate(spec.get("volumes") or ()):
        found += [f"volumes[{index}].{key}" for key in _VOLUMES if volume.get(key) is not None]
        if (volume.get("csi") or {}).get("nodePublishSecretRef") is not None:
            found.append(f"volumes[{index}].csi.nodePublishSecretRef")
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            place = f"volumes[{index}].projected.sources[{position}]"
            found += [f"{place}.{key}" for key in _PROJECTED if source.get(key) is not None]
    for key in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(key) or ()):
            found += _of_container(container, f"{key}[{index}]")
    return found


def _of_container(container: Obj, path: str) -> Iterator[str]:
    for index, env in enumerate(container.get("env") or ()):
        for key in _ENV:
            if (env.get("valueFrom") or {}).get(key) is not None:
                yield f"{path}.env[{index}].valueFrom.{key}"
    for index, source in enumerate(container.get("envFrom") or ()):
        for key in _ENV_FROM:
            if source.get(key) is not None:
                yield f"{path}.envFrom[{index}].{key}"
