"""Which container of a pod a log or stream request means. Pure."""

from __future__ import annotations

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def choose_container(pod: Obj, asked: str) -> str:
    """The container asked for, the annotated default, or the only one. Raises BadRequest listing the choices."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    regular = _names(spec, "containers")
    init, ephemeral = _names(spec, "initContainers"), _names(spec, "ephemeralContainers")
    if asked:
        if asked not in (*regular, *init, *ephemeral):
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    default: str = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if default in regular:
        return default
    if len(regular) == 1:
        return regular[0]
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(regular)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        message += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise BadRequest(message)


def _names(spec: Obj, field: str) -> list[str]:
    return [str(container.get("name", "")) for container in spec.get(field) or ()]
