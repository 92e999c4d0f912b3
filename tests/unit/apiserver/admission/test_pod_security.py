from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.apiserver.admission.pod_security.existing import Existing
from pilothouse.apiserver.admission.pod_security.levels import (
    BASELINE,
    PREFIX,
    PRIVILEGED,
    RESTRICTED,
    Policy,
    allowing_level,
    is_version,
    policy_of,
    violations,
)
from pilothouse.machinery.objects import Obj

WINDOWS = {"name": "windows"}
HARDENED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(
    context: Obj | None = None, *, annotations: Obj | None = None, container: Obj | None = None, **spec: Any
) -> Obj:
    only = {"name": "c", "securityContext": {**HARDENED, **(context or {})}, **(container or {})}
    return {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [only], **spec}}


def test_a_hardened_pod_is_restricted() -> None:
    assert violations(pod(), Policy(RESTRICTED)) == []


BAD: list[tuple[str, Obj]] = [
    ("host namespaces", pod(hostNetwork=True)),
    ("host namespaces", pod(hostPID=True, hostIPC=True)),
    ("privileged", pod({"privileged": True})),
    ("non-default capabilities", pod({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}})),
    ("hostPath volumes", pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
    ("hostPort", pod(container={"ports": [{"containerPort": 80, "hostPort": 80}]})),
    ("hostProcess", pod({"windowsOptions": {"hostProcess": True}})),
    ("forbidden AppArmor profile", pod({"appArmorProfile": {"type": "Unconfined"}})),
    (
        "forbidden AppArmor profile",
        pod(annotations={"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
    ),
    ("seLinuxOptions", pod({"seLinuxOptions": {"type": "spc_t"}})),
    ("seLinuxOptions", pod(securityContext={"seLinuxOptions": {"user": "u"}})),
    ("procMount", pod({"procMount": "Unmasked"})),
    ("seccompProfile", pod({"seccompProfile": {"type": "Unconfined"}})),
    ("forbidden sysctls", pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
    ("probe or lifecycle host", pod(container={"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 1}}})),
    ("privileged", pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}])),
]


@pytest.mark.parametrize(("reason", "bad"), BAD)
def test_baseline_refuses(reason: str, bad: Obj) -> None:
    assert [violation.reason for violation in violations(bad, Policy(BASELINE))] == [reason]
    assert violations(bad, Policy(RESTRICTED))
    assert violations(bad, Policy(PRIVILEGED)) == []
    assert allowing_level(bad) == PRIVILEGED


WEAK: list[tuple[str, Obj]] = [
    ("restricted volume types", pod(volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}])),
    ("allowPrivilegeEscalation != false", pod({"allowPrivilegeEscalation": True})),
    ("runAsNonRoot != true", pod({"runAsNonRoot": None})),
    ("runAsNonRoot != true", pod({"runAsNonRoot": False}, securityContext={"runAsNonRoot": True})),
    ("runAsUser=0", pod({"runAsUser": 0})),
    ("runAsUser=0", pod(securityContext={"runAsUser": 0})),
    ("seccompProfile", pod({"seccompProfile": None})),
    ("unrestricted capabilities", pod({"capabilities": {"drop": ["NET_RAW"]}})),
    ("unrestricted capabilities", pod({"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}})),
]


@pytest.mark.parametrize(("reason", "weak"), WEAK)
def test_restricted_asks_for_more_than_baseline(reason: str, weak: Obj) -> None:
    assert violations(weak, Policy(BASELINE)) == []
    assert [violation.reason for violation in violations(weak, Policy(RESTRICTED))] == [reason]
    assert allowing_level(weak) == BASELINE


def test_the_pods_context_counts_for_containers_that_say_nothing() -> None:
    by_pod = pod(
        {"runAsNonRoot": None, "seccompProfile": None},
        securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}},
    )
    assert violations(by_pod, Policy(RESTRICTED)) == []


def test_restricted_names_whoever_sets_a_seccomp_profile_that_is_none() -> None:
    unconfined = {"seccompProfile": {"type": "Unconfined"}}
    for unconfined_pod, setters in (
        (pod(securityContext=unconfined), "pod"),
        (pod(unconfined), 'container "c"'),
        (pod(unconfined, securityContext=unconfined), 'pod and container "c"'),
    ):
        (violation,) = violations(unconfined_pod, Policy(RESTRICTED))
        assert violation.detail == f'{setters} must not set securityContext.seccompProfile.type to "Unconfined"'
        assert violations(unconfined_pod, Policy(BASELINE))


def test_a_label_nobody_understands_is_the_strictest_and_the_latest() -> None:
    assert policy_of({PREFIX + "enforce": "basline"}, "enforce", PRIVILEGED) == Policy(RESTRICTED)
    assert policy_of({PREFIX + "warn": BASELINE, PREFIX + "warn-version": "1.20"}, "warn", PRIVILEGED) == Policy(
        BASELINE
    )
    assert policy_of({}, "enforce", BASELINE) == Policy(BASELINE)
    assert [is_version(text) for text in ("latest", "v1.0", "v1.35", "v1.400")] == [True] * 4
    assert [is_version(text) for text in ("", "1.20", "v1.05", "v2.0", "v1.20.1", "v1.x")] == [False] * 6


USERS = {"hostUsers": False}
BY_VERSION: list[tuple[str, str, Obj, int, int]] = [
    # level, reason, pod, and the minor versions from which and until which it is refused
    (BASELINE, "probe or lifecycle host", pod(container={"livenessProbe": {"tcpSocket": {"host": "a"}}}), 34, 99),
    (BASELINE, "seLinuxOptions", pod({"seLinuxOptions": {"type": "container_engine_t"}}), 0, 30),
    (BASELINE, "procMount", pod({"procMount": "Unmasked"}), 0, 99),
    (BASELINE, "procMount", pod({"procMount": "Unmasked"}, **USERS), 0, 34),
    (RESTRICTED, "procMount", pod({"procMount": "Unmasked"}, **USERS), 0, 99),
    (BASELINE, "seccompProfile", pod({"seccompProfile": {"type": "Unconfined"}}), 19, 99),
    (BASELINE, "seccompProfile", pod(annotations={"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}), 0, 18),
    (
        BASELINE,
        "seccompProfile",
        pod(annotations={"container.seccomp.security.alpha.kubernetes.io/c": "unconfined"}),
        0,
        18,
    ),
    *(
        (BASELINE, "forbidden sysctls", pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}), 0, until)
        for name, until in (
            ("net.ipv4.ip_local_reserved_ports", 26),
            ("net.ipv4.tcp_keepalive_time", 28),
            ("net.ipv4.tcp_fin_timeout", 28),
            ("net.ipv4.tcp_keepalive_intvl", 28),
            ("net.ipv4.tcp_keepalive_probes", 28),
            ("net.ipv4.tcp_rmem", 31),
            ("net.ipv4.tcp_wmem", 31),
            ("kernel.msgmax", 99),
        )
    ),
    (RESTRICTED, "allowPrivilegeEscalation != false", pod({"allowPrivilegeEscalation": True}), 8, 99),
    (RESTRICTED, "unrestricted capabilities", pod({"capabilities": {}}), 22, 99),
    (RESTRICTED, "seccompProfile", pod({"seccompProfile": None}), 19, 99),
    (RESTRICTED, "runAsNonRoot != true", pod({"runAsNonRoot": None}), 0, 99),
    (RESTRICTED, "runAsNonRoot != true", pod({"runAsNonRoot": None}, **USERS), 0, 34),
    (RESTRICTED, "runAsUser=0", pod({"runAsUser": 0}), 23, 99),
    (RESTRICTED, "runAsUser=0", pod({"runAsUser": 0}, **USERS), 23, 34),
    (RESTRICTED, "allowPrivilegeEscalation != false", pod({"allowPrivilegeEscalation": None}, os=WINDOWS), 8, 24),
    (RESTRICTED, "unrestricted capabilities", pod({"capabilities": {}}, os=WINDOWS), 22, 24),
    (RESTRICTED, "seccompProfile", pod({"seccompProfile": None}, os=WINDOWS), 19, 24),
    (RESTRICTED, "runAsNonRoot != true", pod({"runAsNonRoot": None}, os=WINDOWS), 0, 99),
]


@pytest.mark.parametrize(("level", "reason", "given_pod", "since", "until"), BY_VERSION)
def test_each_version_has_the_controls_of_its_day(
    level: str, reason: str, given_pod: Obj, since: int, until: int
) -> None:
    refused = [
        minor
        for minor in range(36)
        if reason in [each.reason for each in violations(given_pod, Policy(level, f"v1.{minor}"))]
    ]
    assert refused == [minor for minor in range(36) if since <= minor <= until]


def test_before_restricted_says_more_of_capabilities_it_says_what_baseline_says() -> None:
    adding = pod({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}})
    for minor, reason in ((21, "non-default capabilities"), (22, "unrestricted capabilities")):
        assert [each.reason for each in violations(adding, Policy(RESTRICTED, f"v1.{minor}"))] == [reason]


def test_a_version_not_yet_out_is_the_latest() -> None:
    for _, bad in (*BAD, *WEAK):
        assert violations(bad, Policy(RESTRICTED, "v1.99")) == violations(bad, Policy(RESTRICTED))


@given(st.sampled_from([bad for _, bad in (*BAD, *WEAK)]), st.integers(0, 36))
def test_restricted_refuses_what_baseline_refuses_in_every_version(bad: Obj, minor: int) -> None:
    version = f"v1.{minor}"
    if violations(bad, Policy(BASELINE, version)):
        assert violations(bad, Policy(RESTRICTED, version))


def test_what_runs_is_told_of_in_one_line_for_each_way_to_break_the_level() -> None:
    existing = Existing(Policy(BASELINE, "v1.30"))
    for name, one in (
        ("c", pod(hostNetwork=True)),
        ("a", pod(hostPID=True)),
        ("b", pod(hostIPC=True)),
        ("fine", pod()),
        ("d", pod({"privileged": True})),
    ):
        existing.add({**one, "metadata": {"name": name}})
    assert existing.warnings("shop") == [
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:v1.30"',
        "a (and 2 other pods): host namespaces",
        "d: privileged",
    ]
    assert Existing(Policy(PRIVILEGED)).warnings("shop") == []
