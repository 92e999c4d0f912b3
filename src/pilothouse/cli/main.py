"""The `pilothouse` command: one file a command, imported when it is called."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pilothouse.cli import options
from pilothouse.cli.guard_commands import access, exemption, namespace_commands

app = typer.Typer(
    name="pilothouse",
    help="Runs containers described by Kubernetes YAML on your own machines, with guard rails built in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
node = typer.Typer(help="More machines: join one, make a token for one.", no_args_is_help=True)
app.add_typer(node, name="node")
app.add_typer(exemption, name="exemption")
app.add_typer(namespace_commands, name="namespace")
app.add_typer(access, name="access")
vulndb = typer.Typer(help="Vulnerability data for scans: bring it up to date, see how old it is.", no_args_is_help=True)
app.add_typer(vulndb, name="vulndb")
encryption = typer.Typer(help="The keys that seal Secrets in the database.", no_args_is_help=True)
app.add_typer(encryption, name="encryption")
network = typer.Typer(
    help="Connections: seen, denied, and the policies that would allow no more.", no_args_is_help=True
)
app.add_typer(network, name="network")


@app.command()
def up(
    data_dir: options.DataDir = options.DATA_DIR,
    listen: Annotated[str | None, typer.Option(help="Where the API listens, beside the node's address.")] = None,
    node_name: Annotated[str | None, typer.Option(help="This machine's node name (default: host name).")] = None,
    node_address: Annotated[
        str | None,
        typer.Option(help="This machine's address (default: the default route's); A,B for both families."),
    ] = None,
    node_port: Annotated[int | None, typer.Option(help="Port of the node's own API.")] = None,
    pod_range: Annotated[
        str | None,
        typer.Option(
            "--pod-range",
            "--pod-cidr",
            help="Addresses for pods: a /24 of it each node, of IPv6 a /64; one of each family, A,B, for both.",
        ),
    ] = None,
    service_range: Annotated[
        str | None,
        typer.Option(
            "--service-range", "--service-cidr", help="Addresses for services; one of each family, A,B, for both."
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="The cluster's DNS domain.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A part that others run instead: scheduler, controllers, or one controller; nothing: none."),
    ] = None,
    autoscaling_period: Annotated[
        str | None,
        typer.Option(
            "--horizontal-pod-autoscaler-sync-period", help="How often autoscalers look at their metrics (default 15s)."
        ),
    ] = None,
    background: Annotated[bool, typer.Option("--background", help="Outlive this terminal.")] = False,
) -> None:
    """Starts the engine on this machine (in the foreground; Ctrl-C stops it, containers go on)."""
    from pilothouse.cli.up import run_up
    from pilothouse.launch.prepare import Options

    chosen = Options(
        data_dir,
        listen,
        node_name,
        node_address,
        node_port,
        pod_range,
        service_range,
        domain,
        without=tuple(without or ()),
        autoscaling_period=autoscaling_period,
    )
    run_up(chosen, background)


@app.command()
def stop(data_dir: options.DataDir = options.DATA_DIR) -> None:
    """Stops the engine only: containers, their DNS and service addresses go on."""
    from pilothouse.cli.stop import run_stop

    run_stop(data_dir)


@app.command()
def down(
    data_dir: options.DataDir = options.DATA_DIR,
    purge: Annotated[bool, typer.Option("--purge", help="Remove all data and every change to the host.")] = False,
) -> None:
    """Stops everything, containers included; data stays unless --purge is given."""
    from pilothouse.cli.down import run_down

    run_down(data_dir, purge)


@app.command()
def status(
    data_dir: options.DataDir = options.DATA_DIR,
    output: options.Output = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="A live screen; q or Ctrl-C ends it.")] = False,
) -> None:
    """Nodes, workloads, services with addresses, and what is wrong and why."""
    from pilothouse.cli.status import run_status

    raise typer.Exit(run_status(data_dir, output, watch))


@app.command()
def kubeconfig(data_dir: options.DataDir = options.DATA_DIR) -> None:
    """Prints the administrator's kubeconfig, for kubectl, helm and every other client."""
    from pilothouse.cli.kubeconfig import run_kubeconfig

    run_kubeconfig(data_dir)


@app.command()
def deploy(
    source: Annotated[str, typer.Argument(metavar="FILE|DIR|-", help="YAML or JSON manifests.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For objects that name none.")] = "default",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for workloads to be ready.")] = 300.0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until workloads are ready.")] = True,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Applies manifests in the right order and shows each workload's way to ready, or why it does not get there."""
    from pilothouse.cli.deploy import run_deploy

    raise typer.Exit(run_deploy(source, namespace, timeout if wait else None, output, data_dir, kubeconfig))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A pod, or KIND/NAME such as deployment/app.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    container: Annotated[str | None, typer.Option("--container", "-c")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p")] = False,
    tail: Annotated[int | None, typer.Option(help="Only so many of the last lines.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Logs of pods that are gone too, while kept.")] = False,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Prints the logs of a pod, or of all pods of a workload, each line with its pod's name."""
    from pilothouse.cli.logs import LogOptions, run_logs

    if every and (follow or previous):
        raise typer.BadParameter("--all shows all attempts of what there is now: leave out --follow and --previous")
    wanted = LogOptions(container, follow, previous, tail, every)
    raise typer.Exit(run_logs(name, namespace, wanted, data_dir, kubeconfig))


@app.command()
def simulate(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…|-", help="A Simulation, and workloads.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For objects that name none.")] = "default",
    timeout: Annotated[float, typer.Option(help="Seconds after which it ends in any case.")] = 300.0,
    output: options.Output = None,
) -> None:
    """Tries workloads on a cluster of virtual nodes: placements, utilisation, what does not fit. No engine, no root."""
    from pilothouse.cli.simulate import run_simulate

    raise typer.Exit(run_simulate(files or [], namespace, timeout, output))


@app.command("explain-schedule")
def explain_schedule(
    pod: Annotated[str, typer.Argument(metavar="POD", help="A pod, placed or waiting.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    all_: Annotated[bool, typer.Option("--all", help="Every node, not only the first twenty.")] = False,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """The nodes, filters and scores behind a placement. Exit code 1 when no node will do."""
    from pilothouse.cli.explain_schedule import run_explain_schedule

    raise typer.Exit(run_explain_schedule(pod, namespace, all_, output, data_dir, kubeconfig))


@app.command()
def doctor(data_dir: options.DataDir = options.DATA_DIR, output: options.Output = None) -> None:
    """What this host lacks, and the command that mends it; which container runtimes suit it."""
    from pilothouse.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(data_dir, output))


@app.command()
def check(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH...|-", help="Manifests, charts, folders.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="text, json, yaml, sarif, junit, github, gitlab, csv, markdown or policyreport."
        ),
    ] = None,
    fail_on: Annotated[str, typer.Option(help="Severity from which the exit code is 1, or none.")] = "high",
    fail_below: Annotated[int, typer.Option(metavar="SCORE", help="Score below which the exit code is 1.")] = 0,
    show: Annotated[str, typer.Option(metavar="SEVERITY", help="Least severity that is shown; all count.")] = "low",
    new_only: Annotated[
        str | None, typer.Option(metavar="BASELINE", help="Only what a saved run (-o json) does not have.")
    ] = None,
    explain: Annotated[str | None, typer.Option(metavar="ID", help="Tells all about one check.")] = None,
    kubernetes_version: Annotated[str, typer.Option(help="The version the manifests are for.")] = "1.35",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For objects that name none.")] = "default",
    params: Annotated[str | None, typer.Option(metavar="FILE", help="ConfigMaps for checks with parameters.")] = None,
    checks: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Your own checks too, from this folder.")
    ] = None,
    exceptions: Annotated[
        bool, typer.Option("--exceptions/--no-exceptions", help="Whether exceptions in the manifests count.")
    ] = True,
    helm_values: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Values for helm charts.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend in the files what can be mended safely.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--diff", help="What --fix would do, as a unified diff; writes nothing.")
    ] = False,
    context: Annotated[str | None, typer.Option(help="Instead of files: the live cluster of this context.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Instead of files: the live cluster of this file.")] = None,
    export: Annotated[
        str | None, typer.Option(metavar="DIR|-", help="Writes the checks as policies for any Kubernetes cluster.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Of what is exported: enforce, warn or audit.", show_default="enforce")
    ] = None,
    severity: Annotated[
        str | None, typer.Option(help="From which exported policies refuse.", show_default="critical")
    ] = None,
    warn_severity: Annotated[
        str | None, typer.Option(help="From which exported policies warn.", show_default="high")
    ] = None,
    exclude_namespace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMESPACE", help="Left out of what is exported (or none).", show_default="the system's"),
    ] = None,
) -> None:
    """Checks manifests for mistakes; needs no engine. Exit codes: 0 fine, 1 findings, 2 not all could be checked."""
    from pilothouse.cli.check import CheckOptions, run_check, run_explain

    if explain is not None:
        raise typer.Exit(run_explain(explain, checks or ()))
    if export is not None or mode or severity or warn_severity or exclude_namespace:
        from pilothouse.cli.check_export import ExportOptions, run_export

        exported = ExportOptions(
            export, mode, severity, warn_severity, tuple(exclude_namespace or ()), params, tuple(checks or ())
        )
        raise typer.Exit(run_export(paths or [], exported))
    chosen = CheckOptions(
        output,
        fail_on,
        new_only,
        kubernetes_version,
        namespace,
        params,
        context,
        kubeconfig,
        tuple(checks or ()),
        exceptions,
        fix or dry_run,
        dry_run,
        tuple(helm_values or ()),
        show,
        fail_below,
    )
    raise typer.Exit(run_check(paths or [], chosen))


@app.command()
def scan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE|ARCHIVE|DIR|SBOM...", help="Images, OCI or docker archives, folders, SBOMs."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="text, json, sarif, junit, cyclonedx or spdx.")
    ] = None,
    fail_on: Annotated[str, typer.Option(help="Severity from which the exit code is 1, or none.")] = "high",
    only_fixed: Annotated[bool, typer.Option("--only-fixed", help="Only what has a fix.")] = False,
    new_only: Annotated[
        str | None, typer.Option(metavar="BASELINE", help="Only what a saved run (-o json) does not have.")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Of an image for several, such as linux/arm64.")] = None,
    plain_http: Annotated[
        list[str] | None, typer.Option("--plain-http", metavar="HOST[:PORT]", help="A registry without TLS.")
    ] = None,
    vex: Annotated[
        list[str] | None,
        typer.Option("--vex", metavar="FILE|attached", help="OpenVEX: what its maker says does not apply."),
    ] = None,
    sbom: Annotated[
        list[str] | None,
        typer.Option("--sbom", metavar="FILE|attached", help="An image's SBOM: what it names is looked up too."),
    ] = None,
    verify_key: Annotated[
        list[str] | None,
        typer.Option("--verify-key", metavar="FILE", help="Images must be signed by one of these public keys (PEM)."),
    ] = None,
    reports: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="FILE", help="What Trivy or Grype has found (their JSON), told as ours."),
    ] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="trivy|grype", help="Ask this scanner too, where it is installed."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="IMAGE|ARCHIVE", help="A newer base image: which of the old one's flaws it lacks."),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Every running container of this machine's cluster: scanned, or why not.")
    ] = False,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Scans for vulnerable packages, secrets and keys; needs no engine.

    Exit codes: 0 fine, 1 findings, 2 not all could be read, 3 not all could be scanned (unknown system, no data).
    """
    from pilothouse.cli.scan import ScanOptions, run_scan

    if coverage:
        from pilothouse.cli.coverage import run_coverage

        raise typer.Exit(run_coverage(output, data_dir, kubeconfig))
    chosen = ScanOptions(
        output,
        fail_on,
        only_fixed,
        new_only,
        platform,
        tuple(plain_http or ()),
        tuple(vex or ()),
        tuple(sbom or ()),
        tuple(verify_key or ()),
        tuple(reports or ()),
        tuple(tools or ()),
        base,
        data_dir,
    )
    raise typer.Exit(run_scan(targets or [], chosen))


@vulndb.command("update")
def vulndb_update(
    origin: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|DIR|FILE", help="A mirror, folder or file (default: the sources)."),
    ] = None,
    data_dir: options.DataDir = options.DATA_DIR,
) -> None:
    """Fetches what has changed; a broken download keeps the last good data."""
    from pilothouse.cli.vulndb import run_update

    raise typer.Exit(run_update(origin, data_dir))


@vulndb.command("forget")
def vulndb_forget(
    feed: Annotated[str, typer.Argument(help="A feed as `vulndb status` names it.")],
    data_dir: options.DataDir = options.DATA_DIR,
) -> None:
    """Removes a feed and all it says."""
    from pilothouse.cli.vulndb import run_forget

    raise typer.Exit(run_forget(feed, data_dir))


@vulndb.command("schedule")
def vulndb_schedule(
    hours: Annotated[float, typer.Option("--every", metavar="HOURS", help="Hours between updates, about.")] = 12.0,
    origin: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|DIR|FILE", help="A mirror, folder or file (default: the sources)."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No more updates by itself.")] = False,
    data_dir: options.DataDir = options.DATA_DIR,
) -> None:
    """Has the engine bring the data up to date by itself."""
    from pilothouse.cli.vulndb import run_schedule

    raise typer.Exit(run_schedule(None if off else hours, origin, data_dir))


@vulndb.command("status")
def vulndb_status(output: options.Output = None, data_dir: options.DataDir = options.DATA_DIR) -> None:
    """Which data there is, and how old."""
    from pilothouse.cli.vulndb import run_vulndb_status

    raise typer.Exit(run_vulndb_status(output, data_dir))


@app.command()
def findings(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this one (default: all).")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner's; '(nobody)' for what nobody owns.")] = None,
    severity: Annotated[str | None, typer.Option(help="At least this severe.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only of this rule.")] = None,
    state: Annotated[str, typer.Option(help="open, accepted, resolved or all.")] = "open",
    newer_than: Annotated[str | None, typer.Option(help="First seen within 24h, 7d …")] = None,
    older_than: Annotated[str | None, typer.Option(help="First seen longer ago than 24h, 7d …")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Counts by owner.")] = False,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write one page that needs nothing else.")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """What is wrong in the cluster, who owns it and since when."""
    from pilothouse.cli.findings import FindingFilter, run_findings

    chosen = FindingFilter(owner, namespace, severity, rule, state, newer_than, older_than, summary, html)
    raise typer.Exit(run_findings(chosen, output, data_dir, kubeconfig))


@app.command()
def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it.")],
    data_dir: options.DataDir = options.DATA_DIR,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Writes the whole cluster, keys included, to one file encrypted by a passphrase, while everything goes on."""
    from pilothouse.cli.backup import run_backup

    run_backup(file, data_dir, passphrase_file)


@app.command()
def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `pilothouse backup` wrote.")],
    data_dir: options.DataDir = options.DATA_DIR,
    passphrase_file: options.PassphraseFile = None,
) -> None:
    """Puts a backup into an empty data directory, on this or a new machine; `pilothouse up` starts it."""
    from pilothouse.cli.backup import run_restore

    run_restore(file, data_dir, passphrase_file)


@encryption.command("status")
def encryption_status(data_dir: options.DataDir = options.DATA_DIR, output: options.Output = None) -> None:
    """Which keys seal Secrets in the database."""
    from pilothouse.cli.encryption import run_encryption_status

    run_encryption_status(data_dir, output)


@encryption.command("rotate")
def encryption_rotate(data_dir: options.DataDir = options.DATA_DIR) -> None:
    """Makes a new key, seals all Secrets under it and forgets the old one; the API is away for a second."""
    from pilothouse.cli.encryption import run_rotate

    run_rotate(data_dir)


@node.command("join")
def node_join(
    server: Annotated[str, typer.Argument(metavar="ADDRESS", help="The API's address, such as 10.0.0.1:6443.")],
    token: Annotated[str, typer.Option(help="From `pilothouse node token` on the first machine.")],
    data_dir: options.DataDir = options.DATA_DIR,
    node_name: Annotated[str | None, typer.Option(help="This machine's node name (default: host name).")] = None,
    node_address: Annotated[str | None, typer.Option(help="This machine's address.")] = None,
    node_port: Annotated[int | None, typer.Option(help="Port of the node's own API.")] = None,
    background: Annotated[bool, typer.Option("--background", help="Outlive this terminal.")] = False,
) -> None:
    """Makes this machine a node of the cluster at ADDRESS."""
    from pilothouse.cli.node import run_join
    from pilothouse.launch.prepare import Options

    options_ = Options(data_dir, node_name=node_name, node_address=node_address, node_port=node_port)
    run_join(server, token, options_, background)


@node.command("token")
def node_token(
    data_dir: options.DataDir = options.DATA_DIR,
    ttl: Annotated[float, typer.Option(help="Hours until the token expires.")] = 24.0,
) -> None:
    """Makes a join token and prints the command to run on the other machine."""
    from pilothouse.cli.node import run_token

    run_token(data_dir, ttl)


@network.command("flows")
def network_flows(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only flows with an end there.")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Who talks to whom: connections of pods that were seen on any node, the latest first."""
    from pilothouse.cli.network import run_flows

    raise typer.Exit(run_flows("flows", namespace, output, data_dir, kubeconfig))


@network.command("denied")
def network_denied(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only flows with an end there.")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Connections that network policies denied, with the policies, and how often each policy denied."""
    from pilothouse.cli.network import run_flows

    raise typer.Exit(run_flows("deniedflows", namespace, output, data_dir, kubeconfig))


@network.command("advise")
def network_advise(
    namespace: Annotated[str, typer.Argument(help="The namespace to isolate.")],
    replay: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Name the recorded flows that these policies would cut.")
    ] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Writes the least network policies that keep what was seen working (YAML), and what was allowed in vain.

    With --replay: exit code 1 when a recorded flow would be cut.
    """
    from pilothouse.cli.network import run_advise

    raise typer.Exit(run_advise(namespace, replay, output, data_dir, kubeconfig))


def main() -> None:
    """Runs the command line; a Ctrl-C ends it with 130 and no trace."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
