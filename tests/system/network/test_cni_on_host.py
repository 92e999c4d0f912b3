"""The CNI configuration, carried out by the real plugins."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from network_host import LAN_ADDRESS, NODE, NODE_ADDRESS, PREFIX, Server, ask, sh

from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network

pytestmark = pytest.mark.system

PLUGINS = Path("/usr/lib/cni")


def plugin(config: NetworkConfig, command: str, namespace: str) -> dict[str, object]:
    """Runs the configuration's plugin on the node, as a runtime would."""
    listed = json.loads((config.cni_conf_dir / "10-pilothouse.conflist").read_text())
    (only,) = listed["plugins"]
    environment = {
        "PATH": os.environ["PATH"],
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": namespace,
        "CNI_NETNS": f"/run/netns/{namespace}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(PLUGINS),
    }
    done = subprocess.run(
        ["ip", "netns", "exec", NODE, str(PLUGINS / only["type"])],
        input=json.dumps({**only, "cniVersion": listed["cniVersion"], "name": listed["name"]}),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stdout or "{}")
    return result


@pytest.mark.skipif(not (PLUGINS / "ptp").exists(), reason="needs the CNI plugins")
async def test_a_pod_made_by_the_plugin_is_connected(network: Network, config: NetworkConfig, servers: None) -> None:
    pod = f"{PREFIX}cni"
    sh(f"ip netns add {pod}")
    try:
        result = await asyncio.to_thread(plugin, config, "ADD", pod)
        address = str(result["ips"][0]["address"]).split("/")[0]  # type: ignore[index]
        assert address.startswith("10.232.0.")
        server = Server(pod, "made", 8080)
        assert await asyncio.to_thread(ask, PREFIX + "a", address, 8080) == ("made", "10.232.0.11")
        assert (await asyncio.to_thread(ask, NODE, address, 8080))[0] == "made"
        assert await asyncio.to_thread(ask, pod, LAN_ADDRESS, 80) == ("lan", NODE_ADDRESS)
        server.close()
        await asyncio.to_thread(plugin, config, "DEL", pod)
    finally:
        sh(f"ip netns del {pod}")
