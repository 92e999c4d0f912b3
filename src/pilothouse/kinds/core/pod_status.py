"""Views of a pod's status as the node reports it."""

from __future__ import annotations

from pilothouse.kinds.view import Condition, View


class ContainerStateWaiting(View):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(View):
    started_at: str | None = None


class ContainerStateTerminated(View):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = ""


class ContainerState(View):
    """At most one field is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(View):
    name: str = ""
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = ""
    container_id: str = ""


class PodIP(View):
    ip: str = ""


class HostIP(View):
    ip: str = ""


class PodStatus(View):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    nominated_node_name: str = ""
    host_ip: str = ""
    host_ips: list[HostIP] = []
    pod_ip: str = ""
    pod_ips: list[PodIP] = []
    start_time: str | None = None
    qos_class: str = ""
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    ephemeral_container_statuses: list[ContainerStatus] = []
    observed_generation: int | None = None
