"""Which files are static pods, and what is said of the others."""

from __future__ import annotations

import pytest

from pilothouse.node.static.manifest import MAX_BYTES, ManifestError, read

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: a, image: i}]\n"
BOMB = "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
"""A thousand million values, written out."""


def test_a_pod_is_named_after_its_node_and_told_by_its_content() -> None:
    pod = read(POD.encode(), "n1")
    assert (pod.key, pod.spec.node_name, pod.spec.containers[0].image_pull_policy) == ("default/web-n1", "n1", "Always")
    assert read(POD.encode(), "n1").metadata.uid == pod.metadata.uid
    assert read(POD.encode(), "n2").metadata.uid != pod.metadata.uid
    assert read(POD.replace("image: i", "image: j").encode(), "n1").metadata.uid != pod.metadata.uid
    assert any(t.operator == "Exists" and t.effect == "NoExecute" for t in pod.spec.tolerations)


def test_system_priorities_are_known_without_the_api() -> None:
    assert read((POD + "  priorityClassName: system-node-critical\n").encode(), "n1").spec.priority == 2_000_001_000


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("kind: [", "not YAML"),
        ("\xff", "not YAML"),
        ("", "holds 0 documents"),
        (f"{POD}---\n{POD}", "holds 2 documents"),
        (POD.replace("Pod", "Service"), "v1 Service"),
        (POD.replace("image: i", "image: ''"), "containers[0].image: Required value"),
        (POD.replace("image: i", "image: i, imag: j"), 'unknown field "spec.containers[0].imag"'),
        (POD + "  volumes: [{name: v, secret: {secretName: s}}]\n", "volumes[0].secret"),
        (POD + "  serviceAccountName: s\n", "serviceAccountName"),
        (POD.replace("image: i", "image: i, envFrom: [{configMapRef: {name: c}}]"), "envFrom[0].configMapRef"),
        ("#" * (MAX_BYTES + 1), "bytes"),
        (BOMB, "values"),
    ],
)
def test_other_files_are_named_with_the_reason(text: str, sign: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text.encode("latin-1"), "n1")
    assert sign in str(caught.value)
