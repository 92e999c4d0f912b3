"""The commands `pilothouse access`, `exemption` and `namespace`; what they do is imported when they are called."""

from __future__ import annotations

from typing import Annotated

import typer

from pilothouse.cli import options

exemption = typer.Typer(help="Accepted findings: ask, grant, deny, list.", no_args_is_help=True)
namespace_commands = typer.Typer(help="Namespaces that are safe from the start.", no_args_is_help=True)
access = typer.Typer(help="Who may do what, and where rights lead.", no_args_is_help=True)


@access.command("who-can")
def access_who_can(
    verb: Annotated[str, typer.Argument(help="get, list, create, delete, impersonate …")],
    resource: Annotated[str, typer.Argument(help="secrets, pods/exec, deployments.apps, or a path such as /metrics.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Default: in all of them.")] = "",
    name: Annotated[str, typer.Option(help="Of one object by name.")] = "",
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Who may do something, and by which binding."""
    from pilothouse.cli.access import run_who_can

    raise typer.Exit(run_who_can(verb, resource, namespace, name, output, data_dir, kubeconfig))


@access.command("what-can")
def access_what_can(
    subject: Annotated[str, typer.Argument(help="user:NAME, group:NAME or sa:NAMESPACE/NAME.")],
    group: Annotated[list[str] | None, typer.Option(help="A group it is in, by its certificate or token.")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """What a subject may do, where, and by which binding."""
    from pilothouse.cli.access import run_what_can

    raise typer.Exit(run_what_can(subject, group or [], output, data_dir, kubeconfig))


@access.command("paths")
def access_paths(
    subject: Annotated[str | None, typer.Argument(help="user:NAME, group:NAME, sa:NAMESPACE/NAME.")] = None,
    from_pod: Annotated[str | None, typer.Option(metavar="NAMESPACE/NAME", help="From a pod broken into.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="cluster-admin, secrets, node or guard (default: all).")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group it is in, by its certificate or token.")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """How rights lead to cluster-admin, Secrets, a node or past the guard rails, step by step, with who grants each."""
    from pilothouse.cli.access import run_paths

    raise typer.Exit(run_paths(subject, from_pod, to or [], group or [], output, data_dir, kubeconfig))


@access.command("last-used")
def access_last_used(
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    audit_log: Annotated[str | None, typer.Option(help="Another one than this engine's.")] = None,
) -> None:
    """When each subject was last heard of, and what it used, by the audit log."""
    from pilothouse.cli.audited import run_last_used

    raise typer.Exit(run_last_used(output, data_dir, audit_log))


@access.command("least")
def access_least(
    subject: Annotated[str, typer.Argument(help="user:NAME or sa:NAMESPACE/NAME.")],
    since: Annotated[str, typer.Option(help="How far to look back: 24h, 7d …")] = "7d",
    data_dir: options.DataDir = options.DATA_DIR,
    audit_log: Annotated[str | None, typer.Option(help="Another one than this engine's.")] = None,
) -> None:
    """Roles with only what the audit log shows a subject to have used, checked by replaying its requests."""
    from pilothouse.cli.audited import run_least

    raise typer.Exit(run_least(subject, since, data_dir, audit_log))


@exemption.command("request")
def exemption_request(
    finding: Annotated[str, typer.Argument(help="The finding's name, as `kubectl get findings` shows it.")],
    reason: Annotated[str, typer.Option(help="Why it is accepted.")],
    owner: Annotated[str, typer.Option(help="Who answers for it.")],
    length: Annotated[str, typer.Option("--for", help="For how long: 30d, 12w …")] = "30d",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Asks that a finding be accepted for a while; somebody else must grant it."""
    from pilothouse.cli.exemptions import run_request
    from pilothouse.kinds.guard.exemption import ExemptionSpec

    spec = ExemptionSpec(reason=reason, owner=owner)
    raise typer.Exit(run_request(finding, namespace, spec, length, data_dir, kubeconfig))


@exemption.command("approve")
def exemption_approve(
    name: str,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Grants an exemption that somebody else asked for."""
    from pilothouse.cli.exemptions import run_decide

    raise typer.Exit(run_decide(name, namespace, True, data_dir, kubeconfig))


@exemption.command("deny")
def exemption_deny(
    name: str,
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Denies an exemption."""
    from pilothouse.cli.exemptions import run_decide

    raise typer.Exit(run_decide(name, namespace, False, data_dir, kubeconfig))


@exemption.command("list")
def exemption_list(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this one (default: all).")] = None,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """What is accepted, by whom, until when."""
    from pilothouse.cli.exemptions import run_list

    raise typer.Exit(run_list(namespace, output, data_dir, kubeconfig))


@namespace_commands.command("create")
def namespace_create(
    name: str,
    team: Annotated[str, typer.Option(help="Who owns it.")],
    profile: Annotated[str, typer.Option(help="small, medium, large, or a file like them.")] = "small",
    developers: Annotated[str | None, typer.Option(help="Their group (default: TEAM-developers).")] = None,
    operations: Annotated[str | None, typer.Option(help="Their group (default: operations).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the manifests, make nothing.")] = False,
    output: options.Output = None,
    data_dir: options.DataDir = options.DATA_DIR,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Makes a namespace with quota, limits, a closed network, its owner, and roles for developers and operations."""
    from pilothouse.cli.namespace import Wanted, run_create

    groups = {"developers": developers or f"{team}-developers", "operations": operations or "operations"}
    raise typer.Exit(run_create(Wanted(name, team, profile, groups), dry_run, output, data_dir, kubeconfig))
