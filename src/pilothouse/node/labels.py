"""Labels and annotations on sandboxes and containers, by which a node that starts finds what is whose.

The names are upstream's, so that other tools for CRI runtimes recognise pods.
"""

from __future__ import annotations

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"
CONFIG_SOURCE = "kubernetes.io/config.source"
RESOURCES = "pilothouse.io/resources"
"""The CPU and memory a container was started with, as JSON."""
IMAGE_ID = "pilothouse.io/image-id"
