"""`pilothouse node join` and `pilothouse node token`."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import replace
from pathlib import Path

import typer

from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.up import run_up
from pilothouse.controllers.bootstrap_token import create_join_token
from pilothouse.kinds.families import join_host_port, split_host_port
from pilothouse.launch.config import API_PORT, ConfigError, load
from pilothouse.launch.prepare import Options
from pilothouse.machinery.errors import ApiError
from pilothouse.node.identity import IdentityError, parse_token
from pilothouse.node.identity.settings import cluster_settings


def run_join(server: str, token: str, options: Options, background: bool) -> None:
    """Prepares this machine as a node of the cluster at `server` and starts its engine."""
    if os.geteuid() != 0:
        raise CommandError("pilothouse node join must be run as root: use sudo")
    try:
        parsed = parse_token(token)
    except ValueError as error:
        raise CommandError(str(error)) from error
    host, port = split_host_port(server.removeprefix("https://").rstrip("/"))
    if not host or (port and not port.isdigit()):
        raise CommandError(f"{server}: write the API's address, such as 10.0.0.1:{API_PORT} or [fd00::1]:{API_PORT}")
    url = f"https://{join_host_port(host, int(port or API_PORT))}"
    try:
        cluster = asyncio.run(cluster_settings(url, parsed))
    except IdentityError as error:
        raise CommandError(str(error)) from error
    node_dir = Path(options.data_dir, "node")
    node_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    join = node_dir / "join"
    join.touch(mode=0o600)
    join.write_text(token)
    run_up(
        replace(
            options,
            server=url,
            pod_range=cluster.pod_range,
            service_range=cluster.service_range,
            domain=cluster.domain,
        ),
        background,
    )


def run_token(data_dir: str, hours: float) -> None:
    """Makes a token and prints the join command."""
    try:
        config = load(data_dir)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    if config is None or not config.is_server:
        raise CommandError(f"the API does not run on {data_dir}: make the token on the machine where it does")
    certificate = ssl.PEM_cert_to_DER_cert(config.path("pki", "ca.crt").read_text())

    async def make() -> str:
        client = connect(data_dir)
        try:
            return await create_join_token(client, ttl=hours * 3600, ca_der=certificate)
        finally:
            await client.close()

    try:
        token = asyncio.run(make())
    except ApiError as error:
        raise CommandError(str(error)) from error
    typer.echo(f"pilothouse node join {join_host_port(config.node_address, config.api_port)} --token {token}")
