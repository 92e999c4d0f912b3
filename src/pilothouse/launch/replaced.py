"""Parts of the control plane that are left out (`pilothouse up --without`), for upstream's own to run in their place.

Nothing is lost: every part is a client of the API. Whoever takes its place gets a kubeconfig with the identity and the
rights that upstream's part expects.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pilothouse.controllers.start import REPLACEABLE
from pilothouse.launch.config import ConfigError

SCHEDULER, CONTROLLERS = "scheduler", "controllers"
IDENTITIES = {SCHEDULER: "kube-scheduler", CONTROLLERS: "kube-controller-manager"}
"""Who takes the place of a part: `system:NAME`, whose credentials are in D/NAME.kubeconfig."""

THEIRS: Mapping[str, tuple[str, ...]] = {
    "deployment-controller": ("deployment-controller",),
    "replicaset-controller": ("replicaset-controller",),
    "replication-controller": ("replicationcontroller-controller",),
    "statefulset-controller": ("statefulset-controller",),
    "daemon-set-controller": ("daemonset-controller",),
    "disruption-controller": ("disruption-controller",),
    "horizontal-pod-autoscaler": ("horizontal-pod-autoscaler-controller",),
    "ephemeral-volume-controller": ("ephemeral-volume-controller",),
    "job-controller": ("job-controller",),
    "cronjob-controller": ("cronjob-controller",),
    "ttl-after-finished-controller": ("ttl-after-finished-controller",),
    "endpointslice-controller": ("endpointslice-controller",),
    "endpointslicemirroring-controller": ("endpointslice-mirroring-controller",),
    "endpoint-controller": ("endpoints-controller",),
    "service-account-controller": ("serviceaccount-controller",),
    "clusterrole-aggregation-controller": ("clusterrole-aggregation-controller",),
    "pod-garbage-collector": ("pod-garbage-collector-controller",),
    "node-controller": ("node-lifecycle-controller", "taint-eviction-controller"),
    "resourcequota-controller": ("resourcequota-controller",),
    "generic-garbage-collector": ("garbage-collector-controller",),
    "namespace-controller": ("namespace-controller",),
    "service-cidrs-controller": ("service-cidr-controller",),
}
"""What upstream's controller manager calls the controllers that may be left out."""


def check(names: Iterable[str]) -> list[str]:
    """The names in order, each once. Raises ConfigError naming one that is no part."""
    chosen = sorted(set(names))
    known = {SCHEDULER, CONTROLLERS, *REPLACEABLE}
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"--without {name}: there is no such part{hint}; there are {', '.join(sorted(known))}")
    return chosen


def without_scheduler(names: Iterable[str]) -> bool:
    return SCHEDULER in names


def controllers_left_out(names: Iterable[str]) -> frozenset[str]:
    """The controllers that are not to run: those named, or all that upstream's controller manager has too."""
    chosen = frozenset(names)
    return REPLACEABLE if CONTROLLERS in chosen else chosen & REPLACEABLE


def identities(names: Iterable[str]) -> list[str]:
    """The identities that those who take the places of these parts need."""
    chosen = frozenset(names)
    found = [IDENTITIES[SCHEDULER]] if SCHEDULER in chosen else []
    return [*found, IDENTITIES[CONTROLLERS]] if controllers_left_out(chosen) else found


def scheduler_arguments(kubeconfig: Path) -> list[str]:
    """How upstream's scheduler is started with its credentials."""
    return [f"--{of}kubeconfig={kubeconfig}" for of in ("", "authentication-", "authorization-")]


def manager_arguments(kubeconfig: Path, names: Iterable[str] = (CONTROLLERS,)) -> list[str]:
    """How upstream's controller manager is started in the place of the controllers left out; no others of its own may
    run, since what they do is done here (volumes, ranges, certificates, addresses)."""
    left_out = controllers_left_out(names)
    theirs = ",".join(name for ours, all_of in THEIRS.items() if ours in left_out for name in all_of)
    return [*scheduler_arguments(kubeconfig), f"--controllers={theirs}"]


def kubeconfig(server: str, ca: Path, pair: Path, identity: str) -> str:
    """A kubeconfig (YAML) that names files, so that a renewed certificate is taken up without a restart."""
    import yaml

    user = {"client-certificate": str(pair), "client-key": str(pair)}
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "pilothouse", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": "pilothouse", "context": {"cluster": "pilothouse", "user": identity}}],
        "current-context": "pilothouse",
    }
    return yaml.safe_dump(tree, sort_keys=False)
