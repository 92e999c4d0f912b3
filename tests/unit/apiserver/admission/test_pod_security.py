from typing import Any

import pytest

from pilothouse.apiserver.admission.pod_security.levels import (
    BASELINE,
    PRIVILEGED,
    RESTRICTED,
    allowing_level,
    level_of,
    violations,
)
from pilothouse.machinery.objects import Obj

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
    assert violations(pod(), RESTRICTED) == []


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
    assert [violation.reason for violation in violations(bad, BASELINE)] == [reason]
    assert violations(bad, RESTRICTED)
    assert violations(bad, PRIVILEGED) == []
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
    assert violations(weak, BASELINE) == []
    assert [violation.reason for violation in violations(weak, RESTRICTED)] == [reason]
    assert allowing_level(weak) == BASELINE


def test_the_pods_context_counts_for_containers_that_say_nothing() -> None:
    by_pod = pod(
        {"runAsNonRoot": None, "seccompProfile": None},
        securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}},
    )
    assert violations(by_pod, RESTRICTED) == []


def test_restricted_names_whoever_sets_a_seccomp_profile_that_is_none() -> None:
    unconfined = {"seccompProfile": {"type": "Unconfined"}}
    for given, setters in (
        (pod(securityContext=unconfined), "pod"),
        (pod(unconfined), 'container "c"'),
        (pod(unconfined, securityContext=unconfined), 'pod and container "c"'),
    ):
        (violation,) = violations(given, RESTRICTED)
        assert violation.detail == f'{setters} must not set securityContext.seccompProfile.type to "Unconfined"'
        assert violations(given, BASELINE)


def test_a_label_nobody_understands_is_the_strictest() -> None:
    assert level_of({"pod-security.kubernetes.io/enforce": "basline"}, "enforce", PRIVILEGED) == RESTRICTED
    assert level_of({}, "enforce", BASELINE) == BASELINE
