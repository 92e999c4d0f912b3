"""Labels by which EndpointSlices tell whose they are."""

from __future__ import annotations

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
FROM_PODS = "endpointslice-controller.k8s.io"
"""The manager of slices made from a Service's selector."""
MIRRORED = "endpointslicemirroring-controller.k8s.io"
"""The manager of slices copied from Endpoints that people wrote."""
