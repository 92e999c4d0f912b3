"""Every control of the Pod Security Standards: the checks that name a level find something where admission refuses it.

Source: Kubernetes documentation, "Pod Security Standards". A control is a way to break it and ways to keep it.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.apiserver.admission.pod_security.levels import BASELINE, RESTRICTED, Policy, violations
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import judge
from pilothouse.machinery.objects import Obj

HARDENED: Final[Obj] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
NET: Final = {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}
USERS: Final = {"hostUsers": False}
PROBE: Final = {"periodSeconds": 5}
Part = tuple[str, Obj]
"""Where something is put (`context`, `container`, `pod`, `pod context`, `annotations`, or several), and what."""
CONTROLS: Final[dict[str, tuple[str, list[Part], list[Part]]]] = {
    "host namespaces": (
        BASELINE,
        [("pod", {name: True}) for name in ("hostNetwork", "hostPID", "hostIPC")],
        [("pod", {"hostNetwork": False, "hostPID": False, "hostIPC": False})],
    ),
    "privileged containers": (
        BASELINE,
        [("context", {"privileged": True})],
        [("context", {"privileged": False})],
    ),
    "capabilities": (
        BASELINE,
        [("context", {"capabilities": {"drop": ["ALL"], "add": [name]}}) for name in ("SYS_ADMIN", "NET_RAW", "ALL")],
        [("context", NET)],
    ),
    "host path volumes": (
        BASELINE,
        [("pod", {"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]})],
        [("pod", {"volumes": [{"name": "v", "emptyDir": {}}]})],
    ),
    "host ports": (
        BASELINE,
        [("container", {"ports": [{"containerPort": 80, "hostPort": 80}]})],
        [
            ("container", {"ports": [{"containerPort": 80}]}),
            ("container", {"ports": [{"containerPort": 80, "hostPort": 0}]}),
        ],
    ),
    "host process": (
        BASELINE,
        [(place, {"windowsOptions": {"hostProcess": True}}) for place in ("context", "pod context")],
        [("context", {"windowsOptions": {"hostProcess": False}})],
    ),
    "AppArmor": (
        BASELINE,
        [
            ("context", {"appArmorProfile": {"type": "Unconfined"}}),
            ("pod context", {"appArmorProfile": {"type": "Unconfined"}}),
            ("annotations", {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
        ],
        [
            ("context", {"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}}),
            ("annotations", {"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}),
        ],
    ),
    "SELinux": (
        BASELINE,
        [
            (place, {"seLinuxOptions": options})
            for place in ("context", "pod context")
            for options in ({"type": "spc_t"}, {"user": "u"}, {"role": "r"})
        ],
        [("context", {"seLinuxOptions": {"type": kind}}) for kind in ("container_t", "container_engine_t", "")],
    ),
    "/proc mount type": (
        BASELINE,
        [("context", {"procMount": "Unmasked"})],
        [("context", {"procMount": "Default"})],
    ),
    "/proc mount type, restricted": (
        RESTRICTED,
        [("pod and context", {"pod": USERS, "context": {"procMount": "Unmasked"}})],
        [],
    ),
    "seccomp, baseline": (
        BASELINE,
        [(place, {"seccompProfile": {"type": "Unconfined"}}) for place in ("context", "pod context")],
        [("context", {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}})],
    ),
    "sysctls": (
        BASELINE,
        [("pod context", {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})],
        [
            ("pod context", {"sysctls": [{"name": name, "value": "1"}]})
            for name in (
                "kernel.shm_rmid_forced",
                "net.ipv4.ping_group_range",
                "net.ipv4.tcp_keepalive_time",
                "net.ipv4.tcp_wmem",
            )
        ],
    ),
    "hosts of probes and hooks": (
        BASELINE,
        [
            ("container", {"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 1}, **PROBE}}),
            ("container", {"readinessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 1}, **PROBE}}),
            ("container", {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 1}}}}),
        ],
        [("container", {"livenessProbe": {"httpGet": {"port": 1}, **PROBE}})],
    ),
    "volume types": (
        RESTRICTED,
        [("pod", {"volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]})],
        [("pod", {"volumes": [{"name": "v", "configMap": {"name": "a"}}, {"name": "w", "csi": {"driver": "d"}}]})],
    ),
    "privilege escalation": (
        RESTRICTED,
        [("context", {"allowPrivilegeEscalation": None}), ("context", {"allowPrivilegeEscalation": True})],
        [],
    ),
    "running as non-root": (
        RESTRICTED,
        [("context", {"runAsNonRoot": None}), ("context", {"runAsNonRoot": False})],
        [
            ("pod context", {"runAsNonRoot": True}),
            ("pod and context", {"pod": USERS, "context": {"runAsNonRoot": None}}),
        ],
    ),
    "running as user 0": (
        RESTRICTED,
        [("context", {"runAsUser": 0}), ("pod context", {"runAsUser": 0})],
        [
            ("context", {"runAsUser": 1000}),
            ("pod and context", {"pod": USERS, "context": {"runAsUser": 0}}),
        ],
    ),
    "seccomp, restricted": (
        RESTRICTED,
        [("context", {"seccompProfile": None})],
        [("pod context", {"seccompProfile": {"type": "RuntimeDefault"}})],
    ),
    "capabilities, restricted": (
        RESTRICTED,
        [
            ("context", {"capabilities": {"drop": ["NET_RAW"]}}),
            ("context", {"capabilities": None}),
            ("context", {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}),
        ],
        [("context", NET)],
    ),
}
KINDS: Final = ("containers", "initContainers", "ephemeralContainers")


def pod(parts: list[Part], field: str = "containers") -> Obj:
    """A hardened pod of which one container, of a kind, has these parts."""
    container: Obj = {"name": "c", "image": "a", "securityContext": copy.deepcopy(HARDENED)}
    other: Obj = {"name": "d", "image": "a", "securityContext": copy.deepcopy(HARDENED)}
    spec: Obj = {"containers": [other], "securityContext": {}}
    annotations: Obj = {}
    spec.setdefault(field, []).append(container)
    places = {
        "context": container["securityContext"],
        "container": container,
        "pod": spec,
        "pod context": spec["securityContext"],
        "annotations": annotations,
    }
    for place, values in itertools.chain.from_iterable(
        values.items() if place == "pod and context" else [(place, values)] for place, values in parts
    ):
        for key, value in values.items():
            if value is None:
                places[place].pop(key, None)
            else:
                places[place][key] = value
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": annotations}, "spec": spec}


def found(tree: Obj) -> set[str]:
    """The levels that findings name."""
    standards = [finding.check.standards for finding in judge([Item(tree)]).findings]
    return {
        level for level in (BASELINE, RESTRICTED) if any(f"Pod Security Standards: {level}" in s for s in standards)
    }


def refused(tree: Obj) -> set[str]:
    """The levels whose own controls admission finds broken."""
    baseline = {violation.reason for violation in violations(tree, Policy(BASELINE))}
    restricted = {violation.reason for violation in violations(tree, Policy(RESTRICTED))}
    return ({BASELINE} if baseline else set()) | ({RESTRICTED} if restricted - baseline else set())


def table(column: int) -> list[Any]:
    return [
        pytest.param(entry[0], part, field, id=f"{name}-{number}-{field}")
        for name, entry in CONTROLS.items()
        for number, part in enumerate(entry[column])
        for field in KINDS
        if part[0] in ("context", "container", "pod and context") or field == "containers"
    ]


@pytest.mark.parametrize(("level", "part", "field"), table(1))
def test_what_breaks_a_control_is_found(level: str, part: Part, field: str) -> None:
    tree = pod([part], field)
    assert level in refused(tree) or RESTRICTED in refused(tree)
    assert level in found(tree)


@pytest.mark.parametrize(("level", "part", "field"), table(2))
def test_what_keeps_it_is_not(level: str, part: Part, field: str) -> None:
    tree = pod([part], field)
    assert found(tree) == refused(tree) == set()


PARTS: Final = [part for _, broken, kept in CONTROLS.values() for part in (*broken, *kept)]


@given(st.lists(st.sampled_from(PARTS), max_size=5), st.sampled_from(KINDS))
def test_the_checks_and_admission_are_of_one_mind(parts: list[Part], field: str) -> None:
    tree = pod(parts, field)
    assert (BASELINE in found(tree)) == bool(violations(tree, Policy(BASELINE)))
    assert bool(found(tree)) == bool(violations(tree, Policy(RESTRICTED)))
