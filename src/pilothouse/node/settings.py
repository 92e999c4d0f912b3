"""What may be tuned on a node, kept as `node` in D/config.json. Names and defaults are upstream's kubelet's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilothouse.machinery.quantity import InvalidQuantity, parse_quantity
from pilothouse.node.eviction.signals import DEFAULT_HARD, InvalidThreshold, Threshold, thresholds
from pilothouse.node.swap import BEHAVIORS

if TYPE_CHECKING:
    from pilothouse.node.images.providers import Providers

_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")


class InvalidSettings(ValueError):
    """Settings that cannot be used; the message names the one that is wrong."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Times are seconds; thresholds are quantities or percentages by signal."""

    eviction_hard: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_HARD))
    eviction_soft: dict[str, str] = {}
    eviction_soft_grace_period: dict[str, float] = {}
    eviction_minimum_reclaim: dict[str, str] = {}
    eviction_pressure_transition_period: float = 300.0
    eviction_max_pod_grace_period: int = 0
    shutdown_grace_period: float = 0.0
    """Seconds pods have to end when the machine shuts down; 0 leaves them to start again after the boot."""
    shutdown_grace_period_critical_pods: float = 0.0
    """How many of them are kept for critical pods."""
    kube_reserved: dict[str, str] = {}
    system_reserved: dict[str, str] = {}
    max_pods: int = 110
    pod_pids_limit: int = 4096
    """Processes and threads a pod may have; -1 for any number. Upstream's default is any number."""
    swap_behavior: str = "NoSwap"
    """`LimitedSwap` lets burstable pods use the host's swap in proportion to their memory requests (cgroup v2)."""
    image_gc_high_threshold_percent: int = 85
    image_gc_low_threshold_percent: int = 80
    image_minimum_gc_age: float = 120.0
    max_parallel_image_pulls: int = 4
    static_pod_path: str = ""
    """The folder with the manifests of static pods; D/static-pods when it is not set."""
    device_plugins_dir: str = ""
    """Where device plugins register (most expect /var/lib/kubelet/device-plugins); none can when it is not set."""
    csi_root_dir: str = ""
    """The kubelet's root as CSI drivers know it (most expect /var/lib/kubelet): they register and mount below it. None
    can when it is not set."""
    image_credential_provider_config: str = ""
    """A file of kind CredentialProviderConfig; the programs that it names are in the directory below."""
    image_credential_provider_bin_dir: str = ""
    container_log_max_size: str = "10Mi"
    container_log_max_files: int = 5
    kept_logs_seconds: float = 24 * 3600.0
    """How long, and how much together, logs of pods that are gone are kept."""
    kept_logs_size: str = "256Mi"

    def thresholds(self) -> tuple[Threshold, ...]:
        """Raises InvalidThreshold."""
        return thresholds(
            self.eviction_hard,
            self.eviction_soft,
            self.eviction_soft_grace_period,
            self.eviction_minimum_reclaim,
            allocatable=bool(self.reserved("memory")),
        )

    def reserved(self, resource: str) -> int:
        """What is kept for the system and the engine: bytes, thousandths of a CPU, or processes."""
        scale = 1000 if resource == "cpu" else 1
        given = (self.kube_reserved.get(resource, "0"), self.system_reserved.get(resource, "0"))
        return int(sum(parse_quantity(text) for text in given) * scale)

    def providers(self) -> Providers | None:
        """The credential helpers, if there are any. Raises InvalidSettings."""
        if not self.image_credential_provider_config:
            return None
        from pilothouse.node.images.providers import InvalidProviders, load  # few need it

        try:
            return load(Path(self.image_credential_provider_config), Path(self.image_credential_provider_bin_dir))
        except (OSError, InvalidProviders) as error:
            raise InvalidSettings(f"image_credential_provider_config: {error}") from error

    def check(self) -> None:
        """Raises InvalidSettings."""
        self.providers()
        try:
            self.thresholds()
            for given in (self.kube_reserved, self.system_reserved):
                _check_reserved(given)
            for text in (self.container_log_max_size, self.kept_logs_size):
                parse_quantity(text)
        except (InvalidThreshold, InvalidQuantity) as error:
            raise InvalidSettings(str(error)) from error
        if not 0 <= self.image_gc_low_threshold_percent <= self.image_gc_high_threshold_percent <= 100:
            raise InvalidSettings(
                "image_gc_low_threshold_percent must be at most image_gc_high_threshold_percent, both 0 to 100"
            )
        if self.swap_behavior not in BEHAVIORS:
            raise InvalidSettings(f"swap_behavior: {self.swap_behavior!r}: there is {' and '.join(BEHAVIORS)}")
        for name in ("csi_root_dir", "device_plugins_dir"):
            if getattr(self, name) and not getattr(self, name).startswith("/"):
                raise InvalidSettings(f"{name} must be an absolute path")
        for name in ("max_pods", "container_log_max_files", "max_parallel_image_pulls"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"{name} must be at least 1")
        if self.container_log_max_files < 2:
            raise InvalidSettings("container_log_max_files must be at least 2")


def _check_reserved(given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if name not in _RESERVABLE:
            raise InvalidThreshold(f"reserved: unknown resource {name!r}: known are {', '.join(_RESERVABLE)}")
        if parse_quantity(text) < 0:
            raise InvalidThreshold(f"reserved: {name} is negative")
