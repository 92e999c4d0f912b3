"""`pilothouse namespace create`: a namespace with quota, limits, closed network, owner and roles, from a profile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import typer
import yaml

from pilothouse.cli import output as formats
from pilothouse.cli.apply import Applied, Applier
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import Manifest, read_text
from pilothouse.machinery import names
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj

_RBAC = "rbac.authorization.k8s.io"
_SECURITY = "pod-security.kubernetes.io/"
_RESPONSIBLE = "pilothouse.io/responsible-for"
_DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
}
"""To cluster DNS alone: names asked of any other server are a way out."""
_NEEDED = ("description", "quota", "limits", "podSecurity", "network", "roles")
_SIDES = ("developers", "operations")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command line. `groups` are those of developers and operations, by side."""

    name: str
    team: str
    profile: str
    groups: Mapping[str, str]


def run_create(wanted: Wanted, dry_run: bool, output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Makes the namespace, or prints what it would make."""
    formats.check(output)
    profile = load_profile(wanted.profile)
    trees = namespace_objects(wanted, profile)
    if dry_run and output == "json":
        formats.write({"apiVersion": "v1", "kind": "List", "items": trees}, output)
        return 0
    if dry_run:
        typer.echo(yaml.safe_dump_all(trees, sort_keys=False), nl=False)
        return 0
    done = asyncio.run(_apply(trees, wanted.name, data_dir, kubeconfig))
    if output:
        formats.write([{"object": applied.manifest.title, "outcome": applied.outcome} for applied in done], output)
        return 0
    for applied in done:
        typer.echo(f"{applied.manifest.title} {applied.outcome}")
    for side in _SIDES:
        typer.echo(f"\n{side} (group {wanted.groups[side]}): {profile['roles'][side]['responsible']}")
    return 0


def profile_names() -> list[str]:
    """The profiles that are shipped."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def load_profile(name: str) -> Obj:
    """A shipped profile, or a file's. Raises CommandError naming what is missing."""
    shipped = profile_names()
    try:
        text = (_folder() / f"{name}.yaml").read_text() if name in shipped else Path(name).read_text()
        tree = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--profile {name}: there is {', '.join(shipped)}, or name a file", code=2) from error
    except yaml.YAMLError as error:
        raise CommandError(f"--profile {name}: not YAML: {error}", code=2) from error
    missing = [key for key in _NEEDED if not isinstance(tree, dict) or key not in tree]
    if missing:
        raise CommandError(f"--profile {name}: {missing[0]} is missing; copy a shipped profile to begin with", code=2)
    for side in _SIDES:
        role = tree["roles"].get(side) if isinstance(tree["roles"], dict) else None
        if not isinstance(role, dict) or not role.get("rules") or not role.get("responsible"):
            raise CommandError(f"--profile {name}: roles.{side} needs rules and, in words, responsible", code=2)
    return dict(tree)


def namespace_objects(wanted: Wanted, profile: Mapping[str, Any]) -> list[Obj]:
    """The objects of a namespace, in the order to make them. Raises CommandError for a name that is none."""
    for text, what in ((wanted.name, "name"), (wanted.team, "team")):
        if problems := names.dns1123_label(text) if what == "name" else list(names.label_value(text)):
            raise CommandError(f"{what} {text!r}: {problems[0]}", code=2)
    security = {_SECURITY + mode: level for mode, level in profile["podSecurity"].items()}
    labels = {"pilothouse.io/owner": wanted.team, **security}
    about = {"pilothouse.io/profile": f"{Path(wanted.profile).stem}: {profile['description']}"}
    metadata = {"name": wanted.name, "labels": labels, "annotations": about}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    quota = _object("v1", "ResourceQuota", "quota", wanted, spec={"hard": profile["quota"]})
    entry = {"type": "Container", **profile["limits"]}
    limits = _object("v1", "LimitRange", "limits", wanted, spec={"limits": [entry]})
    policies = [_policy(name, wanted, spec) for name, spec in _network(profile["network"]).items()]
    roles = [tree for side in _SIDES for tree in _role(side, wanted, profile["roles"][side])]
    return [space, quota, limits, *policies, *roles]


def _network(network: Mapping[str, Any]) -> dict[str, Obj]:
    found: dict[str, Obj] = {
        "default-deny": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        "allow-dns": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [_DNS]},
    }
    if network.get("sameNamespace"):
        found["allow-same-namespace"] = {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {}}]}],
            "egress": [{"to": [{"podSelector": {}}]}],
        }
    return found


def _role(side: str, wanted: Wanted, role: Mapping[str, Any]) -> list[Obj]:
    words = {_RESPONSIBLE: role["responsible"]}
    made = _object(f"{_RBAC}/v1", "Role", side, wanted, rules=role["rules"])
    made["metadata"]["annotations"] = words
    subject = {"apiGroup": _RBAC, "kind": "Group", "name": wanted.groups[side]}
    ref = {"apiGroup": _RBAC, "kind": "Role", "name": side}
    binding = _object(f"{_RBAC}/v1", "RoleBinding", side, wanted, roleRef=ref, subjects=[subject])
    binding["metadata"]["annotations"] = words
    return [made, binding]


def _policy(name: str, wanted: Wanted, spec: Obj) -> Obj:
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, wanted, spec=spec)


def _object(api_version: str, kind: str, name: str, wanted: Wanted, **content: Any) -> Obj:
    metadata = {"name": name, "namespace": wanted.name, "labels": {"pilothouse.io/owner": wanted.team}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


async def _apply(trees: list[Obj], namespace: str, data_dir: str, kubeconfig: str | None) -> list[Applied]:
    manifests: list[Manifest] = []
    read_text("profile", yaml.safe_dump_all(trees, sort_keys=False), manifests, [])
    client = connect(data_dir, kubeconfig)
    applier = Applier(client, namespace)
    done: list[Applied] = []
    try:
        for manifest in manifests:
            outcome = await applier.apply(manifest)
            if isinstance(outcome, list):
                raise CommandError(f"{manifest.title}: {outcome[0].message}")
            done.append(outcome)
    except ApiError as error:
        raise CommandError(error.message) from error
    finally:
        await client.close()
    return done


def _folder() -> Traversable:
    return resources.files("pilothouse.cli") / "profiles"
