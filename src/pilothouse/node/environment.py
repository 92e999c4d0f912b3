"""A container's environment: literal values, references, and the variables of services.

Pure: whoever asks brings the ConfigMaps and Secrets in `Sources`.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import Container, EnvVar, Pod, ResourceFieldSelector
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.families import join_host_port
from pilothouse.machinery.quantity import parse_quantity

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class UnmetReference(Exception):
    """The environment cannot be made; the container waits with reason CreateContainerConfigError."""


@dataclass(slots=True)
class Sources:
    """What references may name: objects of the pod's namespace, and facts about where it runs."""

    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    services: Iterable[Service] = ()
    """Those of the pod's namespace, and `default/kubernetes`."""
    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    node_name: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value; unknown names stay as they are, `$$` is a dollar."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        value = variables.get(match[1])
        return match[0] if value is None else value

    return _REFERENCE.sub(one, text)


def environment(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """The variables in the order they are set; later ones win. Raises UnmetReference."""
    from_services = service_variables(pod, sources.services)
    result: dict[str, str] = {}
    for source in container.env_from:
        if source.config_map_ref is not None:
            config_map = _config_map(sources, pod, source.config_map_ref.name, bool(source.config_map_ref.optional))
            values = dict(config_map.data) if config_map is not None else {}
        elif source.secret_ref is not None:
            secret = _secret(sources, pod, source.secret_ref.name, bool(source.secret_ref.optional))
            values = {key: _text(value) for key, value in secret.data.items()} if secret is not None else {}
        else:
            values = {}
        result.update({source.prefix + key: value for key, value in values.items() if "=" not in key})
    for variable in container.env:
        if variable.value_from is None:
            result[variable.name] = expand(variable.value, {**from_services, **result})
            continue
        value = _referenced(pod, container, variable, sources)
        if value is not None:
            result[variable.name] = value
    return {**{key: value for key, value in from_services.items() if key not in result}, **result}


def _referenced(pod: Pod, container: Container, variable: EnvVar, sources: Sources) -> str | None:
    source = variable.value_from
    assert source is not None
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, sources)
    if source.resource_field_ref is not None:
        return resource_value(pod, source.resource_field_ref, sources, default=container)
    if source.config_map_key_ref is not None:
        ref = source.config_map_key_ref
        config_map = _config_map(sources, pod, ref.name, bool(ref.optional))
        if config_map is None:
            return None
        if ref.key in config_map.data:
            return config_map.data[ref.key]
        if ref.optional:
            return None
        raise UnmetReference(f"couldn't find key {ref.key} in ConfigMap {pod.namespace}/{ref.name}")
    if source.secret_key_ref is not None:
        key = source.secret_key_ref
        secret = _secret(sources, pod, key.name, bool(key.optional))
        if secret is None:
            return None
        if key.key in secret.data:
            return _text(secret.data[key.key])
        if key.optional:
            return None
        raise UnmetReference(f"couldn't find key {key.key} in Secret {pod.namespace}/{key.name}")
    raise UnmetReference(f"environment variable {variable.name}: its source is of a kind this node does not know")


def _config_map(sources: Sources, pod: Pod, name: str, optional: bool) -> ConfigMap | None:
    found = sources.config_maps.get(name)
    if found is None and not optional:
        raise UnmetReference(f'configmap "{name}" not found in namespace {pod.namespace}')
    return found


def _secret(sources: Sources, pod: Pod, name: str, optional: bool) -> Secret | None:
    found = sources.secrets.get(name)
    if found is None and not optional:
        raise UnmetReference(f'secret "{name}" not found in namespace {pod.namespace}')
    return found


def _text(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "surrogateescape")


def field_value(pod: Pod, path: str, sources: Sources) -> str:
    """What a `fieldRef` names. Raises UnmetReference for paths that do not exist."""
    meta, spec = pod.metadata, pod.spec
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return (meta.labels if subscript[1] == "labels" else meta.annotations).get(subscript[2], "")
    ips = sources.host_ips if spec.host_network else sources.pod_ips
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": spec.node_name or sources.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": next(iter(sources.host_ips), ""),
        "status.hostIPs": ",".join(sources.host_ips),
        "status.podIP": next(iter(ips), ""),
        "status.podIPs": ",".join(ips),
    }
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = meta.labels if path.endswith("labels") else meta.annotations
        return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(pairs.items()))
    if path not in values:
        raise UnmetReference(f"fieldRef {path}: no such field is offered to containers")
    return values[path]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def resource_value(pod: Pod, ref: ResourceFieldSelector, sources: Sources, *, default: Container | None = None) -> str:
    """What a `resourceFieldRef` names, divided and rounded up; without a limit, the node's allocatable amount."""
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    container = next((c for c in containers if c.name == ref.container_name), default)
    if container is None:
        raise UnmetReference(f"resourceFieldRef: the pod has no container {ref.container_name!r}")
    side, _, name = ref.resource.partition(".")
    if side not in ("limits", "requests") or not name:
        raise UnmetReference(f"resourceFieldRef {ref.resource}: must be limits.<name> or requests.<name>")
    limits = dict(container.resources.limits) if container.resources is not None else {}
    requests = {**limits, **container.resources.requests} if container.resources is not None else {}
    if side == "limits":
        amount = parse_quantity(limits.get(name) or sources.allocatable.get(name, "0"))
    else:
        amount = parse_quantity(requests.get(name, "0"))
    divisor = parse_quantity(ref.divisor or "0") or parse_quantity("1")
    return str(math.ceil(amount / divisor))


def service_variables(pod: Pod, services: Iterable[Service]) -> dict[str, str]:
    """NAME_SERVICE_HOST and its kin, for the services there were when the container started."""
    links = pod.spec.enable_service_links is not False
    result: dict[str, str] = {}
    for service in services:
        master = (service.namespace, service.name) == ("default", "kubernetes")
        mine = service.namespace == pod.namespace and links
        ip = service.spec.cluster_ip
        if not (mine or master) or ip in ("", "None") or not service.spec.ports:
            continue
        name = service.name.upper().replace("-", "_").replace(".", "_")
        first = service.spec.ports[0]
        result[f"{name}_SERVICE_HOST"] = ip
        result[f"{name}_SERVICE_PORT"] = str(first.port)
        for port in service.spec.ports:
            if port.name:
                result[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        result[f"{name}_PORT"] = f"{first.protocol.lower()}://{join_host_port(ip, first.port)}"
        for port in service.spec.ports:
            prefix = f"{name}_PORT_{port.port}_{port.protocol.upper()}"
            result[prefix] = f"{port.protocol.lower()}://{join_host_port(ip, port.port)}"
            result[f"{prefix}_PROTO"] = port.protocol.lower()
            result[f"{prefix}_PORT"] = str(port.port)
            result[f"{prefix}_ADDR"] = ip
    return result
