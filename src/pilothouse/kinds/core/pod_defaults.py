"""Defaults of pods and pod templates, as Kubernetes' `SetDefaults_Pod…` functions give them."""

from __future__ import annotations

from pilothouse.kinds.core.pod_resources import default_pod_resources
from pilothouse.kinds.core.quantities import canonical_quantities, canonical_quantity
from pilothouse.machinery.objects import Obj

FILE_MODE = 0o644
TOKEN_SECONDS = 3600

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_FILE_VOLUMES = ("configMap", "secret", "downwardAPI", "projected")


def default_pod(pod: Obj) -> None:
    """Fills in a pod: what a template gets, and requests from limits, host ports and service links."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in _containers(spec):
        resources = container["resources"]
        if limits := resources.get("limits"):
            resources["requests"] = {**limits, **(resources.get("requests") or {})}
        if spec.get("hostNetwork"):
            for port in container.get("ports") or ():
                if not port.get("hostPort"):
                    port["hostPort"] = port.get("containerPort", 0)
    default_pod_resources(spec)


def default_template(template: Obj) -> None:
    """Fills in a pod template."""
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Obj) -> None:
    """Fills in what pods and pod templates have in common."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    # The field's old name is accepted and kept in step with the new one.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    canonical_quantities(spec.get("overhead"))
    for side in ("limits", "requests"):
        canonical_quantities((spec.get("resources") or {}).get(side))
    for container in [*_containers(spec), *(spec.get("ephemeralContainers") or ())]:
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _containers(spec: Obj) -> list[Obj]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _default_container(container: Obj) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    resources = container.setdefault("resources", {})
    canonical_quantities(resources.get("limits"))
    canonical_quantities(resources.get("requests"))
    for env in container.get("env") or ():
        if source := env.get("valueFrom"):
            _default_field_source(source)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if key in container:
            _default_probe(container[key])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _default_http(handler)


def pull_policy(image: str) -> str:
    """`Always` for an image named by the tag `latest` or by none, else `IfNotPresent`."""
    if not image:
        return "IfNotPresent"
    if "@" in image:
        image, _, _ = image.partition("@")
        tag = image.rpartition("/")[2].partition(":")[2]
        return "Always" if tag == "latest" else "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Obj) -> None:
    for key, value in _PROBE.items():
        if not probe.get(key):
            probe[key] = value
    _default_http(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http(handler: Obj) -> None:
    if "httpGet" in handler:
        http = handler["httpGet"]
        http["path"] = http.get("path") or "/"
        http["scheme"] = http.get("scheme") or "HTTP"


def _default_field_source(source: Obj) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        canonical_quantity(reference, "divisor", reference.get("divisor", "0"))


def _default_volume(volume: Obj) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    for key in _FILE_VOLUMES:
        if key in volume:
            volume[key].setdefault("defaultMode", FILE_MODE)
    if "downwardAPI" in volume:
        _default_items(volume["downwardAPI"])
    elif "projected" in volume:
        for source in volume["projected"].get("sources") or ():
            if "serviceAccountToken" in source:
                source["serviceAccountToken"].setdefault("expirationSeconds", TOKEN_SECONDS)
            if "downwardAPI" in source:
                _default_items(source["downwardAPI"])
    elif "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    elif "emptyDir" in volume and "sizeLimit" in volume["emptyDir"]:
        canonical_quantity(volume["emptyDir"], "sizeLimit", volume["emptyDir"]["sizeLimit"])
    elif "image" in volume and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = pull_policy(volume["image"].get("reference") or "")
    elif "ephemeral" in volume:
        claim = (volume["ephemeral"].get("volumeClaimTemplate") or {}).get("spec")
        if claim is not None:
            claim.setdefault("volumeMode", "Filesystem")
            canonical_quantities((claim.get("resources") or {}).get("requests"))


def _default_items(source: Obj) -> None:
    for item in source.get("items") or ():
        _default_field_source(item)
