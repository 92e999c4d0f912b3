"""Measurements in Prometheus' text form. Pure.

`/metrics/resource` is the kubelet's; of cadvisor's many metrics the common ones are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pilothouse.node.stats.network import Interface
from pilothouse.node.stats.sampler import HOST, Measured
from pilothouse.node.stats.summary import ContainerGroup, PodGroup

_HELP = {
    "node_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the node in core-seconds"),
    "node_memory_working_set_bytes": ("gauge", "Current working set of the node in bytes"),
    "pod_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the pod in core-seconds"),
    "pod_memory_working_set_bytes": ("gauge", "Current working set of the pod in bytes"),
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed by the container in core-seconds"),
    "container_memory_working_set_bytes": ("gauge", "Current working set of the container in bytes"),
    "container_memory_usage_bytes": ("gauge", "Current memory usage in bytes, file cache included"),
    "container_memory_rss": ("gauge", "Size of anonymous memory in bytes"),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds"),
    "container_network_receive_bytes_total": ("counter", "Cumulative count of bytes received"),
    "container_network_transmit_bytes_total": ("counter", "Cumulative count of bytes transmitted"),
    "scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
}


class _Families:
    """Samples by metric, because each metric's lines must stand together."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, name: str, labels: Mapping[str, str], value: float, time: float | None = None) -> None:
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        stamp = f" {int(time * 1000)}" if time is not None else ""
        self._lines.setdefault(name, []).append(f"{name}{{{pairs}}} {value!r}{stamp}" if pairs else f"{name} {value!r}")

    def text(self) -> str:
        out = []
        for name, lines in self._lines.items():
            kind, help_text = _HELP[name]
            out += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *lines]
        return "\n".join(out) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def resource_metrics(pods: Iterable[PodGroup], measured: Mapping[str, Measured]) -> str:
    """What metrics-server scrapes."""
    families = _Families()
    _pair(families, "node", {}, measured[HOST])
    for pod in pods:
        labels = {"namespace": pod.namespace, "pod": pod.name}
        for container in pod.containers:
            if container.path in measured:
                named = {"container": container.name, **labels}
                _pair(families, "container", named, measured[container.path])
                families.add("container_start_time_seconds", named, container.started_at)
        if pod.path in measured:
            _pair(families, "pod", labels, measured[pod.path])
    families.add("scrape_error", {}, 0)
    return families.text()


def _pair(families: _Families, what: str, labels: Mapping[str, str], measured: Measured) -> None:
    usage = measured.usage
    families.add(f"{what}_cpu_usage_seconds_total", labels, usage.cpu_ns / 1e9, usage.time)
    families.add(f"{what}_memory_working_set_bytes", labels, usage.working_set_bytes, usage.time)


def cadvisor_metrics(
    pods: Iterable[PodGroup], measured: Mapping[str, Measured], interfaces: Mapping[str, list[Interface]]
) -> str:
    """The cadvisor metrics that dashboards of pods ask for: CPU, memory and network."""
    families = _Families()
    for pod in pods:
        labels = {"namespace": pod.namespace, "pod": pod.name}
        for group in [ContainerGroup("", pod.path, 0.0), *pod.containers]:
            if group.path not in measured:
                continue
            usage = measured[group.path].usage
            # Dashboards tell containers from pods by the image label, which is empty for a pod.
            named = {"container": group.name, "id": group.path, "image": group.image, "name": group.id, **labels}
            families.add("container_cpu_usage_seconds_total", {**named, "cpu": "total"}, usage.cpu_ns / 1e9, usage.time)
            families.add("container_memory_usage_bytes", named, usage.memory_bytes, usage.time)
            families.add("container_memory_working_set_bytes", named, usage.working_set_bytes, usage.time)
            families.add("container_memory_rss", named, usage.rss_bytes, usage.time)
        for entry in interfaces.get(pod.path, ()):
            named = {"interface": entry.name, **labels}
            families.add("container_network_receive_bytes_total", named, entry.rx_bytes)
            families.add("container_network_transmit_bytes_total", named, entry.tx_bytes)
    return families.text()
