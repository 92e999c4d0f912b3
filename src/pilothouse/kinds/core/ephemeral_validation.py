"""Rules for ephemeral containers: added to a pod that runs, never changed or removed.

Source: `ValidatePodEphemeralContainersUpdate` and `validateEphemeralContainers` of Kubernetes' core validation.
"""

from __future__ import annotations

from pilothouse.kinds.core.container_validation import check_container
from pilothouse.kinds.equality import same
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

_FORBIDDEN = (
    *("ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules"),
    *("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"),
)
_CANNOT = "cannot be set for an Ephemeral Container"


def check_ephemeral_update(spec: Obj, old: Obj, problems: Problems) -> None:
    """The ephemeral containers of a defaulted pod spec against those it has had."""
    path = "spec.ephemeralContainers"
    new = spec.get("ephemeralContainers") or []
    volumes = frozenset(volume.get("name", "") for volume in spec.get("volumes") or ())
    check_ephemeral_containers(spec, volumes, path, problems)
    wanted = {container.get("name"): container for container in new}
    for container in old.get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in wanted:
            problems.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif not same(wanted[name], container):
            problems.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n')


def check_ephemeral_containers(spec: Obj, volumes: frozenset[str], path: str, problems: Problems) -> None:
    """Ephemeral containers as such, in a spec whose volumes have these names."""
    others = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    seen = {str(container.get("name")) for container in others}
    targets = set(seen)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        at = f"{path}[{index}]"
        check_container(container, at, volumes, seen, problems, spec.get("restartPolicy", ""))
        image = container.get("image") or ""
        if image != image.strip():
            problems.invalid(f"{at}.image", image, "must not have leading or trailing whitespace")
        target = container.get("targetContainerName") or ""
        if target and target not in targets:
            problems.not_found(f"{at}.targetContainerName", target)
        for key in _FORBIDDEN:
            if container.get(key):
                problems.forbidden(f"{at}.{key}", _CANNOT)
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    problems.forbidden(f"{at}.volumeMounts[{number}].{key}", _CANNOT)
