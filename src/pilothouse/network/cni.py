"""The CNI configuration of the default pod network: `ptp`, which makes every packet of a pod pass the host's rules.

Masquerade and host ports are the table's work (see base.py, rules.py), so no plugin does them: each would be one more
program started for every pod.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pilothouse.kinds.families import Network

CONFIG_NAME = "10-pilothouse.conflist"


def cni_config(ipam_dir: Path, pod_cidrs: Sequence[Network], mtu: int) -> str:
    """The text of the configuration list (CNI 0.4.0): a pod gets an address of each range."""
    ptp = {
        "type": "ptp",
        "ipMasq": False,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": str(ipam_dir),
            "ranges": [[{"subnet": str(network)}] for network in pod_cidrs],
            "routes": [{"dst": "0.0.0.0/0" if network.version == 4 else "::/0"} for network in pod_cidrs],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pilothouse", "plugins": [ptp]}, indent=2) + "\n"


def write_cni_config(conf_dir: Path, ipam_dir: Path, pod_cidrs: Sequence[Network], mtu: int) -> bool:
    """Writes the configuration if it differs, in one step. True if it was written.

    A directory that holds another configuration list is left alone: any CNI plugin may be used instead.
    """
    conf_dir.mkdir(parents=True, exist_ok=True)
    path = conf_dir / CONFIG_NAME
    others = [entry for entry in conf_dir.iterdir() if entry.suffix in (".conf", ".conflist") and entry != path]
    text = cni_config(ipam_dir, pod_cidrs, mtu)
    if others or (path.exists() and path.read_text() == text):
        return False
    fresh = path.with_suffix(".new")
    with open(fresh, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return True
