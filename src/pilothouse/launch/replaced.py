"""Parts of the control plane that are left out (`pilothouse up --without`), for upstream's own to run in their place.

Nothing is lost: every part is a client of the API. Whoever takes its place gets a kubeconfig with the identity and the
rights that upstream's part expects.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from pilothouse.controllers.start import REPLACEABLE
from pilothouse.launch.config import ConfigError

SCHEDULER, CONTROLLERS = "scheduler", "controllers"
IDENTITIES = {SCHEDULER: "kube-scheduler", CONTROLLERS: "kube-controller-manager"}
"""Who takes the place of a part: `system:NAME`, whose credentials are in D/NAME.kubeconfig."""


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
