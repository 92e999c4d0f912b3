"""Rules for the containers of a pod spec. Source: `validateContainers` and `validateInitContainers` of Kubernetes."""

from __future__ import annotations

import ipaddress

from pilothouse.kinds.core.field_references import ENV_FIELDS, check_field_ref, check_resource_ref
from pilothouse.kinds.core.probe_validation import check_lifecycle, check_probe
from pilothouse.kinds.core.resource_validation import check_resources
from pilothouse.kinds.core.restart_validation import check_restart_policy
from pilothouse.kinds.core.security_validation import check_security_context
from pilothouse.kinds.core.volume_validation import PULL_POLICIES, check_descending_path
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

PROTOCOLS = ("SCTP", "TCP", "UDP")

_MESSAGE_POLICIES = ["File", "FallbackToLogsOnError"]
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_ENV_SOURCES_LISTED = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_ENV_FROM_SOURCES = ("configMapRef", "secretRef")


def check_containers(spec: Obj, path: str, volumes: frozenset[str], problems: Problems) -> None:
    """The containers and init containers of a spec, whose volumes have these names."""
    containers = spec.get("containers") or []
    seen: set[str] = set()
    host_ports: set[str] = set()
    if not containers:
        problems.required(f"{path}.containers")
    for index, container in enumerate(containers):
        at = f"{path}.containers[{index}]"
        check_container(container, at, volumes, seen, problems, spec.get("restartPolicy", ""))
        _check_hooks(container, spec, at, problems)
        check_restart_policy(container, at, problems)
    for index, container in enumerate(containers):
        _check_host_ports(container, f"{path}.containers[{index}]", host_ports, problems)

    for index, container in enumerate(spec.get("initContainers") or ()):
        at = f"{path}.initContainers[{index}]"
        check_container(container, at, volumes, seen, problems, spec.get("restartPolicy", ""))
        _check_init(container, spec, at, problems)
        # Init containers that end never hold a port at the same time as another container.
        ends = container.get("restartPolicy") != "Always"
        _check_host_ports(container, at, set() if ends else host_ports, problems)


def check_container(
    container: Obj, path: str, volumes: frozenset[str], seen: set[str], problems: Problems, restart_policy: str
) -> None:
    """What holds for containers of every sort, in a pod with that policy; their names are added to `seen`."""
    name, image = container.get("name") or "", container.get("image") or ""
    if not name:
        problems.required(f"{path}.name")
    else:
        problems.invalid_each(f"{path}.name", name, names.dns1123_label(name))
        if name in seen:
            problems.duplicate(f"{path}.name", name)
        seen.add(name)
    if not image:
        problems.required(f"{path}.image")
    problems.one_of(f"{path}.terminationMessagePolicy", container.get("terminationMessagePolicy"), _MESSAGE_POLICIES)
    if ports := container.get("ports"):
        _check_ports(ports, f"{path}.ports", problems)
    if env := container.get("env"):
        _check_env(env, f"{path}.env", problems)
    if env_from := container.get("envFrom"):
        _check_env_from(env_from, f"{path}.envFrom", problems)
    if mounts := container.get("volumeMounts"):
        _check_mounts(container, mounts, volumes, f"{path}.volumeMounts", problems)
    if devices := container.get("volumeDevices"):
        _check_devices(container, devices, volumes, f"{path}.volumeDevices", problems)
    problems.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES)
    check_resources(container.get("resources") or {}, f"{path}.resources", problems)
    if resize := container.get("resizePolicy"):
        _check_resize_policy(resize, f"{path}.resizePolicy", restart_policy, problems)
    if context := container.get("securityContext"):
        check_security_context(context, f"{path}.securityContext", problems)


def _check_resize_policy(policies: list[Obj], path: str, restart_policy: str, problems: Problems) -> None:
    """Source: `validateResizePolicy` of Kubernetes' core validation."""
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, how = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            problems.duplicate(f"{path}[{index}]", resource)
        seen.add(resource)
        problems.one_of(path, resource, ("cpu", "memory"))
        problems.one_of(path, how, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and how != "NotRequired":
            problems.invalid(path, how, "must be 'NotRequired' when `restartPolicy` is 'Never'")


def _check_hooks(container: Obj, spec: Obj, path: str, problems: Problems) -> None:
    if "lifecycle" in container:
        check_lifecycle(
            container["lifecycle"], spec.get("terminationGracePeriodSeconds"), f"{path}.lifecycle", problems
        )
    for probe in _PROBES:
        if probe in container:
            check_probe(container[probe], probe, f"{path}.{probe}", problems)


def _check_init(container: Obj, spec: Obj, path: str, problems: Problems) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules")
    if policy == "Always" and rules:
        detail = "restartPolicyRules are not allowed for init containers with restart policy Always"
        problems.forbidden(f"{path}.restartPolicyRules", detail)
    elif policy is None and rules:
        problems.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    elif policy is not None:
        check_restart_policy(container, path, problems)
    if container.get("restartPolicy") == "Always":
        _check_hooks(container, spec, path, problems)
        return
    for key in ("lifecycle", *_PROBES):
        if key in container:
            problems.forbidden(f"{path}.{key}", "may not be set for init containers without restartPolicy=Always")


def _check_ports(ports: list[Obj], path: str, problems: Problems) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if name := port.get("name"):
            if messages := names.port_name(name):
                problems.invalid_each(f"{at}.name", name, messages)
            elif name in seen:
                problems.duplicate(f"{at}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            problems.required(f"{at}.containerPort")
        else:
            problems.within(f"{at}.containerPort", port["containerPort"], 1, 65535)
        if port.get("hostPort"):
            problems.within(f"{at}.hostPort", port["hostPort"], 1, 65535)
        problems.one_of(f"{at}.protocol", port.get("protocol"), PROTOCOLS)
        if port.get("hostIP"):
            check_ip(port["hostIP"], f"{at}.hostIP", problems)


def _check_host_ports(container: Obj, path: str, taken: set[str], problems: Problems) -> None:
    for index, port in enumerate(container.get("ports") or ()):
        host_port = port.get("hostPort")
        if not host_port:
            continue
        at = f"{path}.ports[{index}]"
        claim = f"{port.get('protocol')}/{port.get('hostIP', '')}/{host_port}"
        if claim in taken:
            problems.duplicate(f"{at}.hostPort", claim)
        taken.add(claim)


def _check_env(env: list[Obj], path: str, problems: Problems) -> None:
    for index, variable in enumerate(env):
        name = variable.get("name") or ""
        if not name:
            problems.required(f"{path}[{index}].name")
        elif messages := names.env_var_name(name):
            problems.invalid_each(f"{path}[{index}].name", name, messages)
        if "valueFrom" in variable:
            _check_value_from(variable, f"{path}[{index}].valueFrom", problems)


def _check_value_from(variable: Obj, path: str, problems: Problems) -> None:
    source = variable["valueFrom"]
    for key in source:
        if key not in _ENV_SOURCES:
            problems.forbidden(f"{path}.{key}", "is not supported by Pilothouse")
    given = [key for key in _ENV_SOURCES if key in source]
    for key in given:
        reference, at = source[key], f"{path}.{key}"
        if key == "fieldRef":
            check_field_ref(reference, ENV_FIELDS, at, problems)
        elif key == "resourceFieldRef":
            check_resource_ref(reference, False, at, problems)
        else:
            _check_key_ref(reference, at, problems)
    if not source:
        problems.invalid(path, "", f"must specify one of: {_ENV_SOURCES_LISTED}")
    elif variable.get("value"):
        problems.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        problems.invalid(path, "", "may not have more than one field specified at a time")


def _check_key_ref(reference: Obj, path: str, problems: Problems) -> None:
    name, key = reference.get("name") or "", reference.get("key") or ""
    problems.invalid_each(f"{path}.name", name, names.dns1123_subdomain(name))
    if not key:
        problems.required(f"{path}.key")
    else:
        problems.invalid_each(f"{path}.key", key, names.config_key(key))


def _check_env_from(sources: list[Obj], path: str, problems: Problems) -> None:
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if prefix := source.get("prefix"):
            problems.invalid_each(f"{at}.prefix", prefix, names.env_var_name(prefix))
        given = [key for key in _ENV_FROM_SOURCES if key in source]
        for key in given:
            name = source[key].get("name") or ""
            if not name:
                problems.required(f"{at}.{key}.name")
            else:
                prefix = name.removesuffix("-") + "a" if name.endswith("-") else name
                problems.invalid_each(f"{at}.{key}.name", name, names.dns1123_subdomain(prefix))
        if not given:
            problems.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            problems.invalid(path, "", "may not have more than one field specified at a time")


def _check_mounts(container: Obj, mounts: list[Obj], volumes: frozenset[str], path: str, problems: Problems) -> None:
    """Source: `ValidateVolumeMounts` of Kubernetes' core validation, which names some fields without the index."""
    devices = container.get("volumeDevices") or []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        at = f"{path}[{index}]"
        name, mount_path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            problems.required(f"{at}.name")
        if name not in volumes:
            problems.not_found(f"{at}.name", name)
        if not mount_path:
            problems.required(f"{at}.mountPath")
        if mount_path in seen:
            problems.invalid(f"{at}.mountPath", mount_path, "must be unique")
        seen.add(mount_path)
        if any(device.get("name") == name for device in devices):
            problems.invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if any(device.get("devicePath") == mount_path for device in devices):
            problems.invalid(f"{at}.mountPath", mount_path, "must not already exist as a path in volumeDevices")
        if mount.get("subPath"):
            check_descending_path(mount["subPath"], f"{path}.subPath", problems)
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                problems.invalid(
                    f"{at}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
                )
            check_descending_path(mount["subPathExpr"], f"{path}.subPathExpr", problems)
        if "mountPropagation" in mount:
            _check_propagation(container, mount["mountPropagation"], f"{path}.mountPropagation", problems)
        if "recursiveReadOnly" in mount:
            _check_recursive(mount, f"{path}.recursiveReadOnly", problems)


def _check_recursive(mount: Obj, path: str, problems: Problems) -> None:
    how = mount["recursiveReadOnly"]
    if how in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            problems.forbidden(path, "may only be specified when readOnly is true")
        if mount.get("mountPropagation", "None") != "None":
            problems.forbidden(path, "may only be specified when mountPropagation is None or not specified")
    elif how != "Disabled":
        problems.unsupported(path, how, ("Disabled", "Enabled", "IfPossible"))


def _check_devices(container: Obj, devices: list[Obj], volumes: frozenset[str], path: str, problems: Problems) -> None:
    """Source: `ValidateVolumeDevices` of Kubernetes' core validation."""
    mounts = container.get("volumeMounts") or []
    named: set[str] = set()
    seen: set[str] = set()
    for index, device in enumerate(devices):
        at = f"{path}[{index}]"
        name, device_path = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            problems.required(f"{at}.name")
        if name in named:
            problems.invalid(f"{at}.name", name, "must be unique")
        if name not in volumes:
            problems.not_found(f"{at}.name", name)
        if not device_path:
            problems.required(f"{at}.devicePath")
        if device_path in seen:
            problems.invalid(f"{at}.devicePath", device_path, "must be unique")
        if ".." in device_path.split("/"):
            problems.invalid(f"{at}.devicePath", device_path, "can not contain backsteps ('..')")
        else:
            seen.add(device_path)
        if any(mount.get("name") == name for mount in mounts):
            problems.invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if any(mount.get("mountPath") == device_path for mount in mounts):
            problems.invalid(f"{at}.devicePath", device_path, "must not already exist as a path in volumeMounts")
        if name:
            named.add(name)


def _check_propagation(container: Obj, propagation: str, path: str, problems: Problems) -> None:
    problems.one_of(path, propagation, _PROPAGATIONS)
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        problems.forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def check_ip(text: str, path: str, problems: Problems) -> None:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        problems.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
