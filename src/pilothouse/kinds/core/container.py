"""Views of a container: what it runs, its environment, probes, hooks, mounts, resources and security context."""

from __future__ import annotations

from pilothouse.kinds.core.volume import ObjectFieldSelector, ResourceFieldSelector
from pilothouse.kinds.view import View


class ConfigMapKeySelector(View):
    name: str = ""
    key: str = ""
    optional: bool | None = None


class SecretKeySelector(View):
    name: str = ""
    key: str = ""
    optional: bool | None = None


class EnvVarSource(View):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: ConfigMapKeySelector | None = None
    secret_key_ref: SecretKeySelector | None = None


class EnvVar(View):
    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class ConfigMapEnvSource(View):
    name: str = ""
    optional: bool | None = None


class SecretEnvSource(View):
    name: str = ""
    optional: bool | None = None


class EnvFromSource(View):
    prefix: str = ""
    config_map_ref: ConfigMapEnvSource | None = None
    secret_ref: SecretEnvSource | None = None


class ContainerPort(View):
    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = ""


class HTTPHeader(View):
    name: str = ""
    value: str = ""


class HTTPGetAction(View):
    port: int | str = 0
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HTTPHeader] = []


class TCPSocketAction(View):
    port: int | str = 0
    host: str = ""


class ExecAction(View):
    command: list[str] = []


class GRPCAction(View):
    port: int = 0
    service: str = ""


class SleepAction(View):
    seconds: int = 0


class Probe(View):
    """A probe with the API's defaults; times are seconds. Exactly one action is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(View):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(View):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class Capabilities(View):
    add: list[str] = []
    drop: list[str] = []


class SELinuxOptions(View):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SeccompProfile(View):
    type: str = ""
    localhost_profile: str = ""


class AppArmorProfile(View):
    type: str = ""
    localhost_profile: str = ""


class SecurityContext(View):
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    se_linux_options: SELinuxOptions | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    proc_mount: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None


class ResourceRequirements(View):
    """Quantities by resource name (`cpu`, `memory`, `ephemeral-storage`, `hugepages-*`, extended resources)."""

    limits: dict[str, str] = {}
    requests: dict[str, str] = {}


class ContainerResizePolicy(View):
    """Whether a container must be restarted for a resize of one resource to take effect."""

    resource_name: str = ""
    restart_policy: str = ""


class VolumeMount(View):
    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    recursive_read_only: str | None = None
    mount_propagation: str | None = None


class VolumeDevice(View):
    name: str = ""
    device_path: str = ""


class ContainerRestartRuleOnExitCodes(View):
    """`operator` is In or NotIn."""

    operator: str = ""
    values: list[int] = []


class ContainerRestartRule(View):
    """What to do when a container ends in one of some ways."""

    action: str = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class Container(View):
    """A container or init container; an init container with `restartPolicy: Always` is a sidecar."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    env_from: list[EnvFromSource] = []
    resources: ResourceRequirements | None = None
    resize_policy: list[ContainerResizePolicy] = []
    restart_policy: str | None = None
    restart_policy_rules: list[ContainerRestartRule] = []
    volume_mounts: list[VolumeMount] = []
    volume_devices: list[VolumeDevice] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Container):
    """A container added to a pod that runs, to look into it; `target_container_name` shares its processes."""

    target_container_name: str = ""
