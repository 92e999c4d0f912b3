"""`pilothouse access`: who can, what can, and how rights lead to further rights."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches

import typer

from pilothouse.cli import output as formats
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.client.client import Client
from pilothouse.guard.access import nodes
from pilothouse.guard.access.read import read_cluster
from pilothouse.guard.access.rights import MASTERS, Asked, Subject, account_of, groups_of, parse_subject
from pilothouse.guard.access.spread import TARGETS, Cluster, State, Step
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.rbac.role import PolicyRule
from pilothouse.machinery.errors import ApiError


def run_who_can(
    verb: str, what: str, namespace: str, name: str, output: str | None, data_dir: str, kubeconfig: str | None
) -> int:
    """Prints who may do something, and by which binding."""
    formats.check(output)
    asked = parse_asked(verb, what, namespace, name)
    if not asked.path and not asked.group and not _is_known(asked.resource):
        typer.echo(f"note: no kind is called {asked.resource} here; write a custom one as PLURAL.GROUP", err=True)
    cluster = _read(data_dir, kubeconfig)
    found = sorted(cluster.rights.who_can(asked), key=lambda grant: (str(grant.subject), grant.binding))
    rows = [{"subject": str(grant.subject), "binding": grant.binding, "role": grant.role} for grant in found]
    if which := nodes.of_nodes(asked):
        rows.insert(0, {"subject": f"Group {nodes.GROUP}", "binding": "-", "role": f"{nodes.BY}: {which}"})
    rows.insert(0, {"subject": f"Group {MASTERS}", "binding": "-", "role": "everything, whatever the roles say"})
    if output:
        formats.write(rows, output)
    else:
        typer.echo("\n".join(_table(("subject", "binding", "role"), rows)))
    return 0


def run_what_can(text: str, groups: Sequence[str], output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints what a subject may do, and by which binding."""
    formats.check(output)
    cluster = _read(data_dir, kubeconfig)
    subject = known_subject(text, cluster, groups)
    in_groups = (*groups_of(subject), *groups)
    found = list(cluster.rights.of(subject, in_groups))
    rows = [
        {"rights": rule_text(rule), "where": grant.namespace or "everywhere", "by": str(grant)}
        for grant in found
        for rule in grant.rules
    ]
    if nodes.node_of(subject):
        own = nodes.rules_of_nodes()
        rows += [{"rights": rule_text(rule), "where": which, "by": nodes.BY} for rule, which in own]
    if Subject("Group", MASTERS) in (subject, *(Subject("Group", group) for group in in_groups)):
        rows.insert(0, {"rights": "everything", "where": "everywhere", "by": f"the group {MASTERS}"})
    if output:
        formats.write(rows, output)
    else:
        typer.echo("\n".join(_table(("rights", "where", "by"), rows) if rows else [f"{subject} may do nothing"]))
    return 0


def run_paths(
    text: str | None,
    pod: str | None,
    targets: Sequence[str],
    groups: Sequence[str],
    output: str | None,
    data_dir: str,
    kubeconfig: str | None,
) -> int:
    """Prints how a subject, or whoever breaks into a pod, gets to what matters; without either, who does."""
    formats.check(output)
    if wrong := [target for target in targets if target not in TARGETS]:
        raise CommandError(f"--to {wrong[0]}: there is {', '.join(TARGETS)}", code=2)
    cluster = _read(data_dir, kubeconfig)
    if pod:
        starts = [_pod_state(pod, cluster)]
    elif text:
        subject = known_subject(text, cluster, groups)
        cluster.groups = {subject: groups}
        starts = [State("subject", subject.name, subject)]
    else:
        starts = [State("subject", subject.name, subject) for subject in people(cluster)]
    ways = {str(start): shortest(cluster, start, targets or TARGETS) for start in starts}
    if output:
        trees = [
            {"from": start, "to": str(way[-1].target), "steps": [_step_tree(step) for step in way]}
            for start, found in ways.items()
            for way in found
        ]
        formats.write(trees, output)
    else:
        typer.echo("\n".join(path_lines(ways)))
    return 0


def shortest(cluster: Cluster, start: State, targets: Sequence[str]) -> list[list[Step]]:
    """The shortest way to each target; of several Secrets or nodes the widest."""
    found = cluster.paths(start)
    ways = []
    for target in targets:
        states = (state for state in found if state.kind == target)
        reached = sorted(states, key=lambda state: (state.name != "", "/" in state.name, len(found[state])))
        ways += [found[reached[0]]] if reached else []
    return [way for way in ways if way]


def people(cluster: Cluster) -> list[Subject]:
    """Subjects with rights that are no part of the system."""
    own = [subject for subject in cluster.rights.grants if not _of_system(subject)]
    return sorted(own, key=str)


def _of_system(subject: Subject) -> bool:
    found = account_of(subject)
    return found[0] == "kube-system" if found else subject.name.startswith(("system:", "pilothouse:"))


def path_lines(ways: dict[str, list[list[Step]]]) -> list[str]:
    """Ways in words, one step a line."""
    lines: list[str] = []
    for start, found in ways.items():
        for way in found:
            lines.append(f"{start} -> {way[-1].target}")
            lines += [f"  {n}. {_words(step)}   (by {step.by})" for n, step in enumerate(way, 1)]
    return lines or [
        "nobody gets to cluster-admin, Secrets, a node or past the guard rails by rights that are not the system's own"
    ]


def _words(step: Step) -> str:
    between = ":" if step.target.kind in TARGETS else ""
    return f"{step.source} {step.does}{between} {step.target}"


def _step_tree(step: Step) -> dict[str, str]:
    return {"from": str(step.source), "does": step.does, "by": step.by, "to": str(step.target)}


def parse_asked(verb: str, what: str, namespace: str, name: str) -> Asked:
    """The request that words such as `get pods/log`, `create deployments.apps` or `get /metrics` mean."""
    if what.startswith("/"):
        return Asked(verb, path=what)
    resource, _, sub = what.partition("/")
    plural, _, group = resource.partition(".")
    if not group:
        named = (k for k in KINDS if plural.lower() in (k.resource.plural, k.singular, *k.short_names))
        kind = next(named, None)
        if kind is not None:
            plural, group = kind.resource.plural, kind.resource.group
    return Asked(verb, group, plural, sub, namespace, name)


def _is_known(plural: str) -> bool:
    """Whether a kind or something that only RBAC knows is called so."""
    return plural in ("*", "users", "groups", "signers", "userextras", "uids") or any(
        kind.resource.plural == plural for kind in KINDS
    )


def known_subject(text: str, cluster: Cluster, groups: Sequence[str] = ()) -> Subject:
    """The subject of a text, in these groups too; one that nothing is bound to and that does not exist is refused by
    name."""
    try:
        subject = parse_subject(text)
    except ValueError as error:
        raise CommandError(str(error), code=2) from error
    found, node = account_of(subject), nodes.node_of(subject)
    in_groups = [Subject("Group", group) for group in groups]
    known = {*cluster.rights.grants, Subject("Group", MASTERS)}
    if subject in known or any(group in known for group in in_groups):
        return subject
    if (found and found in cluster.accounts) or (node and node in cluster.nodes):
        return subject
    near = get_close_matches(str(subject), [str(entry) for entry in known], n=3, cutoff=0.7)
    hint = f"; did you mean {', '.join(near)}?" if near else "; write sa:NAMESPACE/NAME, user:NAME or group:NAME"
    raise CommandError(f"no binding and no account is of {subject}{hint}")


def _pod_state(text: str, cluster: Cluster) -> State:
    if not any(f"{pod.namespace}/{pod.name}" == text for pod in cluster.pods):
        raise CommandError(f"there is no running Pod {text}; write it as NAMESPACE/NAME")
    return State("pod", text)


def rule_text(rule: PolicyRule) -> str:
    """A rule in one line."""
    if rule.non_resource_urls:
        return f"{','.join(rule.verbs)} {','.join(rule.non_resource_urls)}"
    groups = [group for group in rule.api_groups if group]
    of = f" of {','.join(groups)}" if groups else ""
    names = f" named {','.join(rule.resource_names)}" if rule.resource_names else ""
    return f"{','.join(rule.verbs)} {','.join(rule.resources)}{of}{names}"


def _read(data_dir: str, kubeconfig: str | None) -> Cluster:
    async def run() -> Cluster:
        client: Client = connect(data_dir, kubeconfig)
        try:
            return await read_cluster(client)
        except ApiError as error:
            raise CommandError(f"rights cannot be read: {error.message}") from error
        finally:
            await client.close()

    return asyncio.run(run())


def _table(heads: Sequence[str], rows: Sequence[dict[str, str]]) -> list[str]:
    table = [{head: head.upper() for head in heads}, *rows]
    widths = {head: max(len(row[head]) for row in table) for head in heads}
    return ["  ".join(row[head].ljust(widths[head]) for head in heads).rstrip() for row in table]
