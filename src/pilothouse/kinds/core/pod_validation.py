"""Rules for pods and pod templates. Source: `ValidatePodSpec` of Kubernetes' core validation.

Fields that Pilothouse cannot honour yet are refused by name instead of being ignored.
"""

from __future__ import annotations

from pilothouse.kinds.core.container_validation import check_containers, check_ip
from pilothouse.kinds.core.ephemeral_validation import check_ephemeral_containers
from pilothouse.kinds.core.placement_validation import check_affinity, check_spread, check_tolerations
from pilothouse.kinds.core.pod_resources import check_pod_resources
from pilothouse.kinds.core.security_validation import MAX_ID, check_pod_security_context
from pilothouse.kinds.core.volume_validation import check_volumes
from pilothouse.kinds.metadata import check_annotations, check_labels
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

RESTART_POLICIES = ["Always", "OnFailure", "Never"]

_DNS_POLICIES = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]
_PREEMPTION = ["PreemptLowerPriority", "Never"]
_UNSUPPORTED = {
    "resourceClaims": "device claims are not supported by Pilothouse",
    "workloadRef": "gang scheduling is not supported by Pilothouse",
}
_MAX_HOSTNAME = 64
_MAX_NAMESERVERS, _MAX_SEARCHES, _MAX_SEARCH_CHARACTERS = 3, 32, 2048


def check_template(template: Obj, path: str, problems: Problems) -> None:
    """A pod template of a controller whose pods always run."""
    check_any_template(template, path, problems)
    spec = template.get("spec") or {}
    if spec.get("restartPolicy", "Always") != "Always" and spec["restartPolicy"] in RESTART_POLICIES:
        problems.unsupported(f"{path}.spec.restartPolicy", spec["restartPolicy"], ("Always",))
    if "activeDeadlineSeconds" in spec:
        problems.forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")


def check_any_template(template: Obj, path: str, problems: Problems) -> None:
    """A pod template. Source: `ValidatePodTemplateSpec`."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    check_labels(meta.get("labels"), f"{path}.labels", problems)
    check_annotations(meta.get("annotations"), f"{path}.annotations", problems)
    check_pod_spec(spec, f"{path}.spec", problems)
    if spec.get("ephemeralContainers"):
        problems.forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def check_pod_spec(spec: Obj, path: str, problems: Problems, *, of_pod: bool = False) -> None:
    """A defaulted pod spec, at creation; that of a pod itself must say more than a template's."""
    volumes = check_volumes(spec.get("volumes") or [], f"{path}.volumes", problems)
    check_containers(spec, path, volumes, problems)
    if spec.get("ephemeralContainers"):
        check_ephemeral_containers(spec, volumes, f"{path}.ephemeralContainers", problems)
    if spec.get("resources"):
        check_pod_resources(spec, path, problems)
    if spec.get("hostNetwork"):
        _check_host_network_ports(spec, path, problems, of_pod=of_pod)
    problems.one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    problems.not_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    problems.one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector", problems)
    if (context := spec.get("securityContext")) is not None:
        check_pod_security_context(context, spec, f"{path}.securityContext", problems)
    if affinity := spec.get("affinity"):
        check_affinity(affinity, f"{path}.affinity", problems)
    _check_dns(spec, path, problems)
    _check_gates(spec, path, problems)
    if spread := spec.get("topologySpreadConstraints"):
        check_spread(spread, f"{path}.topologySpreadConstraints", problems)
    # Whether a node has user namespaces is for the node to say.
    for key, told in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get("hostUsers") is False and spec.get(key):
            problems.forbidden(f"{path}.{told}", "when `hostUsers` is false")
    if (override := spec.get("hostnameOverride")) is not None:
        _check_hostname_override(override, spec, path, problems)
    _check_names(spec, path, problems)
    if "preemptionPolicy" in spec:
        problems.one_of(f"{path}.preemptionPolicy", spec["preemptionPolicy"], _PREEMPTION)
    os = spec.get("os")
    if os is not None and os.get("name") != "linux":
        problems.one_of(f"{path}.os.name", os.get("name"), ("linux",))
    for key, why in _UNSUPPORTED.items():
        if key in spec:
            problems.forbidden(f"{path}.{key}", why)


def _check_host_network_ports(spec: Obj, path: str, problems: Problems, *, of_pod: bool) -> None:
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            given, wanted = port.get("hostPort", 0), port.get("containerPort", 0)
            if given != wanted and (given or of_pod):
                at = f"{path}.containers[{index}].ports[{number}].hostPort"
                problems.invalid(at, given, "must match `containerPort` when `hostNetwork` is true")


def _check_names(spec: Obj, path: str, problems: Problems) -> None:
    for key in ("serviceAccountName", "nodeName"):
        if value := spec.get(key):
            problems.invalid_each(f"{path}.{key}", value, names.dns1123_subdomain(value))
    problems.within(f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, MAX_ID)
    for key in ("hostname", "subdomain"):
        if value := spec.get(key):
            problems.invalid_each(f"{path}.{key}", value, names.dns1123_label(value))
    if tolerations := spec.get("tolerations"):
        check_tolerations(tolerations, f"{path}.tolerations", problems)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        at = f"{path}.hostAliases[{index}]"
        check_ip(alias.get("ip") or "", f"{at}.ip", problems)
        for number, name in enumerate(alias.get("hostnames") or ()):
            problems.invalid_each(f"{at}.hostnames[{number}]", name, names.dns1123_subdomain(name))
    if value := spec.get("priorityClassName"):
        problems.invalid_each(f"{path}.priorityClassName", value, names.dns1123_subdomain(value))
    if (value := spec.get("runtimeClassName")) is not None:
        problems.invalid_each(f"{path}.runtimeClassName", value, names.dns1123_subdomain(value))


def _check_gates(spec: Obj, path: str, problems: Problems) -> None:
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        condition = gate.get("conditionType") or ""
        problems.invalid_each(f"{path}.readinessGates[{index}].conditionType", condition, names.label_key(condition))
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        problems.invalid_each(at, name, names.label_key(name))
        if name in seen:
            problems.duplicate(at, name)
        seen.add(name)


def _check_hostname_override(override: str, spec: Obj, path: str, problems: Problems) -> None:
    at = f"{path}.hostnameOverride"
    for key in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(key):
            problems.forbidden(at, f"may not be specified when {key} is true")
    if len(override) > _MAX_HOSTNAME:
        problems.too_long(at, _MAX_HOSTNAME)
    problems.invalid_each(at, override, names.dns1123_subdomain(override))


def _check_dns(spec: Obj, path: str, problems: Problems) -> None:
    policy, config = spec.get("dnsPolicy"), spec.get("dnsConfig")
    if config is None:
        if policy == "None":
            problems.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        return
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if policy == "None" and not servers:
        problems.required(
            f"{path}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
        return
    if len(servers) > _MAX_NAMESERVERS:
        problems.invalid(
            f"{path}.dnsConfig.nameservers", servers, f"must not have more than {_MAX_NAMESERVERS} nameservers"
        )
    for index, server in enumerate(servers):
        check_ip(server, f"{path}.dnsConfig.nameservers[{index}]", problems)
    if len(searches) > _MAX_SEARCHES:
        problems.invalid(
            f"{path}.dnsConfig.searches", searches, f"must not have more than {_MAX_SEARCHES} search paths"
        )
    if len(" ".join(searches)) > _MAX_SEARCH_CHARACTERS:
        problems.invalid(
            f"{path}.dnsConfig.searches",
            searches,
            f"must not have more than {_MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list",
        )
    for index, search in enumerate(searches):
        if search != ".":
            at, bare = f"{path}.dnsConfig.searches[{index}]", search.removesuffix(".")
            problems.invalid_each(at, bare, names.dns1123_subdomain_underscored(bare))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            problems.required(f"{path}.dnsConfig.options[{index}]", "must not be empty")
