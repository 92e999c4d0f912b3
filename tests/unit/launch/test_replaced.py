"""Parts of the control plane that others run."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from pilothouse.controllers.start import REPLACEABLE, controllers
from pilothouse.launch.config import ConfigError
from pilothouse.launch.pki import ClusterPki
from pilothouse.launch.replaced import (
    THEIRS,
    check,
    controllers_left_out,
    identities,
    kubeconfig,
    manager_arguments,
    without_scheduler,
)


def test_every_replaceable_controller_is_one() -> None:
    assert {controller.name for controller in controllers("10.244.0.0/16", 24)} > REPLACEABLE


def test_each_has_its_counterpart_and_the_recipe_names_them() -> None:
    assert THEIRS.keys() == REPLACEABLE
    recipe = (Path(__file__).parents[3] / "docs" / "recipes" / "upstream-components.md").read_text()
    _, _, _, wanted = manager_arguments(Path("D"))
    assert wanted in recipe.replace("\\\n", "").replace(" ", "")
    assert manager_arguments(Path("D"), ["node-controller", "scheduler"])[-1].endswith(
        "=node-lifecycle-controller,taint-eviction-controller"
    )


@pytest.mark.parametrize(
    ("names", "left_out", "who"),
    [
        ([], 0, []),
        (["scheduler"], 0, ["kube-scheduler"]),
        (["controllers"], len(REPLACEABLE), ["kube-controller-manager"]),
        (["job-controller", "scheduler"], 1, ["kube-scheduler", "kube-controller-manager"]),
    ],
)
def test_what_is_left_out_and_for_whom(names: list[str], left_out: int, who: list[str]) -> None:
    assert check(iter(names)) == sorted(names)
    assert len(controllers_left_out(names)) == left_out
    assert without_scheduler(names) == ("scheduler" in names)
    assert identities(names) == who


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        check(["schedular"])
    assert "--without schedular: there is no such part (did you mean scheduler?)" in str(caught.value)


def test_its_credentials_are_its_own_and_renewed(tmp_path: Path) -> None:
    def opened(now: dt.datetime) -> ClusterPki:
        return ClusterPki.open(
            tmp_path,
            addresses=[],
            service_ip="10.96.0.1",
            domain="cluster.local",
            components=["kube-scheduler"],
            now=now,
        )

    now = dt.datetime.now(dt.UTC)
    pki = opened(now)
    certificate = x509.load_pem_x509_certificate(pki.pair("kube-scheduler")[0])
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "system:kube-scheduler"
    assert not certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    later = opened(now + dt.timedelta(days=25))
    assert x509.load_pem_x509_certificate(later.pair("kube-scheduler")[0]).serial_number != certificate.serial_number
    text = kubeconfig("https://127.0.0.1:6443", pki.ca_path, pki.path("kube-scheduler"), "kube-scheduler")
    user = yaml.safe_load(text)["users"][0]["user"]
    assert user["client-certificate"] == user["client-key"] == str(pki.path("kube-scheduler"))
