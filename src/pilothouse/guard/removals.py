"""API versions that Kubernetes deprecated and removed. Pure.

Source: Kubernetes documentation, "Deprecated API Migration Guide".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Removal(NamedTuple):
    """An API version's end, as (major, minor) numbers; `removed` is None while it is still served."""

    deprecated: tuple[int, int]
    removed: tuple[int, int] | None
    instead: str


def parse_version(text: str) -> tuple[int, int]:
    """`1.35`, `v1.35` or `1.35.2` as (1, 35). Raises ValueError."""
    major, _, rest = text.removeprefix("v").partition(".")
    minor = rest.partition(".")[0]
    if not major.isdigit() or not minor.isdigit():
        raise ValueError(f"{text!r} is no Kubernetes version; write it as 1.35")
    return int(major), int(minor)


def removal_of(api_version: str, kind: str) -> Removal | None:
    """When this API version of a kind was deprecated and removed, None if it never was."""
    return REMOVALS.get((api_version, kind)) or REMOVALS.get((api_version, "*"))


REMOVALS: Final[Mapping[tuple[str, str], Removal]] = {
    ("extensions/v1beta1", "Ingress"): Removal((1, 14), (1, 22), "networking.k8s.io/v1"),
    ("extensions/v1beta1", "NetworkPolicy"): Removal((1, 9), (1, 16), "networking.k8s.io/v1"),
    ("extensions/v1beta1", "PodSecurityPolicy"): Removal((1, 11), (1, 16), "Pod Security admission"),
    ("extensions/v1beta1", "*"): Removal((1, 9), (1, 16), "apps/v1"),
    ("apps/v1beta1", "*"): Removal((1, 9), (1, 16), "apps/v1"),
    ("apps/v1beta2", "*"): Removal((1, 9), (1, 16), "apps/v1"),
    ("networking.k8s.io/v1beta1", "Ingress"): Removal((1, 19), (1, 22), "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass"): Removal((1, 19), (1, 22), "networking.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1alpha1", "*"): Removal((1, 17), (1, 22), "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "*"): Removal((1, 17), (1, 22), "rbac.authorization.k8s.io/v1"),
    ("admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration"): Removal(
        (1, 16), (1, 22), "admissionregistration.k8s.io/v1"
    ),
    ("admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration"): Removal(
        (1, 16), (1, 22), "admissionregistration.k8s.io/v1"
    ),
    ("apiextensions.k8s.io/v1beta1", "*"): Removal((1, 16), (1, 22), "apiextensions.k8s.io/v1"),
    ("apiregistration.k8s.io/v1beta1", "*"): Removal((1, 19), (1, 22), "apiregistration.k8s.io/v1"),
    ("authentication.k8s.io/v1beta1", "TokenReview"): Removal((1, 19), (1, 22), "authentication.k8s.io/v1"),
    ("authorization.k8s.io/v1beta1", "*"): Removal((1, 19), (1, 22), "authorization.k8s.io/v1"),
    ("certificates.k8s.io/v1beta1", "CertificateSigningRequest"): Removal((1, 19), (1, 22), "certificates.k8s.io/v1"),
    ("coordination.k8s.io/v1beta1", "Lease"): Removal((1, 19), (1, 22), "coordination.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): Removal((1, 14), (1, 22), "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSIDriver"): Removal((1, 19), (1, 22), "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSINode"): Removal((1, 17), (1, 22), "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass"): Removal((1, 17), (1, 22), "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "VolumeAttachment"): Removal((1, 17), (1, 22), "storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity"): Removal((1, 24), (1, 27), "storage.k8s.io/v1"),
    ("batch/v1beta1", "CronJob"): Removal((1, 21), (1, 25), "batch/v1"),
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): Removal((1, 21), (1, 25), "discovery.k8s.io/v1"),
    ("events.k8s.io/v1beta1", "Event"): Removal((1, 19), (1, 25), "events.k8s.io/v1"),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): Removal((1, 22), (1, 25), "autoscaling/v2"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): Removal((1, 23), (1, 26), "autoscaling/v2"),
    ("policy/v1beta1", "PodDisruptionBudget"): Removal((1, 21), (1, 25), "policy/v1"),
    ("policy/v1beta1", "PodSecurityPolicy"): Removal((1, 21), (1, 25), "Pod Security admission"),
    ("node.k8s.io/v1beta1", "RuntimeClass"): Removal((1, 20), (1, 25), "node.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "*"): Removal((1, 23), (1, 26), "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", "*"): Removal((1, 26), (1, 29), "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", "*"): Removal((1, 29), (1, 32), "flowcontrol.apiserver.k8s.io/v1"),
    ("v1", "ComponentStatus"): Removal((1, 19), None, "the health endpoints of each component"),
    ("v1", "Endpoints"): Removal((1, 33), None, "discovery.k8s.io/v1 EndpointSlice"),
}
