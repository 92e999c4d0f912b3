"""Security contexts as CRI takes them, and what is refused rather than dropped."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.refuse import Abilities, refusal, without_effect
from pilothouse.node.security import ImageUser, RefusedConfiguration, container_security, sandbox_security
from pilothouse.node.wire import cri_pb2 as cri

ROOT = ImageUser(0)


def pod(container: dict[str, Any] | None = None, context: dict[str, Any] | None = None, **spec: Any) -> Pod:
    inner = {"securityContext": container} if container is not None else {}
    outer = {"securityContext": context} if context is not None else {}
    result: Pod = from_tree(Pod, {"spec": {"containers": [{"name": "c", **inner}], **outer, **spec}})
    return result


def security(made: Pod, image: ImageUser = ROOT) -> cri.LinuxContainerSecurityContext:
    return container_security(made, made.spec.containers[0], image, "/seccomp")


def test_nothing_said_is_still_confined() -> None:
    context = security(pod())
    assert context.HasField("seccomp")
    assert context.seccomp.profile_type == cri.SecurityProfile.RuntimeDefault
    assert "/proc/kcore" in context.masked_paths
    assert not context.HasField("run_as_user")


def test_the_container_is_asked_before_the_pod() -> None:
    made = pod({"runAsUser": 5}, {"runAsUser": 1, "runAsGroup": 2, "supplementalGroups": [7], "fsGroup": 8})
    context = security(made)
    assert (context.run_as_user.value, context.run_as_group.value) == (5, 2)
    assert list(context.supplemental_groups) == [7, 8]


def test_capabilities_go_without_their_prefix() -> None:
    context = security(pod({"capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}}))
    assert list(context.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert list(context.capabilities.drop_capabilities) == ["ALL"]


def test_a_privileged_container_needs_a_privileged_sandbox() -> None:
    made = pod({"privileged": True})
    assert sandbox_security(made).privileged
    assert security(made).seccomp.profile_type == cri.SecurityProfile.Unconfined
    assert list(security(made).masked_paths) == []


def test_a_group_alone_brings_the_images_user() -> None:
    made = pod({"runAsGroup": 9})
    assert security(made, ImageUser(12)).run_as_user.value == 12
    assert security(made, ImageUser(None, "web")).run_as_username == "web"


@pytest.mark.parametrize(
    ("context", "image", "message"),
    [
        ({}, ROOT, "image will run as root"),
        ({}, ImageUser(None, ""), "image will run as root"),
        ({}, ImageUser(None, "web"), "non-numeric user"),
        ({"runAsUser": 0}, ImageUser(5), "breaks non-root policy"),
    ],
)
def test_non_root_is_verified(context: dict[str, Any], image: ImageUser, message: str) -> None:
    with pytest.raises(RefusedConfiguration, match=message):
        security(pod({"runAsNonRoot": True, **context}), image)
    security(pod({"runAsNonRoot": True, "runAsUser": 3}), ROOT)


@pytest.mark.parametrize(
    ("made", "sign"),
    [
        (pod(hostUsers=False), "user namespaces"),
        (pod(volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}]), "type of volume 'v'"),
        (pod({"appArmorProfile": {"type": "RuntimeDefault"}}), "no AppArmor"),
        (pod(context={"seLinuxOptions": {"type": "container_t"}}), "SELinux"),
        (pod(context={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "forbidden sysctl"),
        (pod(os={"name": "windows"}), "windows"),
        (pod(context={"supplementalGroupsPolicy": "Strict"}), "Strict"),
    ],
)
def test_what_cannot_be_honoured_is_refused(made: Pod, sign: str) -> None:
    refused = refusal(made, Abilities())
    assert refused is not None
    assert sign in refused.message


def test_a_level_alone_has_no_effect_and_that_is_told() -> None:
    made = pod(context={"seLinuxOptions": {"level": "s0:c0,c1"}})
    assert refusal(made, Abilities()) is None
    (told,) = without_effect(made, Abilities())
    assert "SELinux is not enabled" in told
    assert without_effect(made, Abilities(selinux=True)) == without_effect(pod(), Abilities()) == []


def test_what_can_be_honoured_is_not_refused() -> None:
    made = pod(
        {"appArmorProfile": {"type": "Unconfined"}, "allowPrivilegeEscalation": False},
        {"sysctls": [{"name": "net.ipv4.ping_group_range", "value": "0 1"}]},
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    assert refusal(made, Abilities()) is None
    assert security(made).no_new_privs
