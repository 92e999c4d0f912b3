import datetime as dt
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from pilothouse.launch.pki import ADMIN, API, ClusterPki, PkiError

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def opened(
    directory: Path, now: dt.datetime = NOW, addresses: tuple[str, ...] = ("10.9.8.7", "box.example")
) -> ClusterPki:
    return ClusterPki.open(directory, addresses=addresses, service_ip="10.96.0.1", domain="cluster.local", now=now)


def certificate(pki: ClusterPki, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.path(name).read_bytes())


def test_opens_the_same_keys_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "pki")
    again = opened(tmp_path / "pki", NOW + dt.timedelta(days=1))
    assert again.ca_pem == first.ca_pem
    assert again.pair(API) == first.pair(API)
    assert again.service_account_key == first.service_account_key
    for path in (tmp_path / "pki").glob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_serving_certificate_names_every_way_to_the_api(tmp_path: Path) -> None:
    names = certificate(opened(tmp_path), API).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "kubernetes.default.svc.cluster.local", "box.example"} <= set(
        names.get_values_for_type(x509.DNSName)
    )
    assert {"127.0.0.1", "10.96.0.1", "10.9.8.7"} == {str(a) for a in names.get_values_for_type(x509.IPAddress)}


def test_another_address_gets_another_serving_certificate(tmp_path: Path) -> None:
    first = opened(tmp_path).pair(API)
    assert opened(tmp_path, addresses=("10.1.1.1",)).pair(API) != first


def test_renews_components_after_two_thirds_and_leaves_the_administrator(tmp_path: Path) -> None:
    pki = opened(tmp_path)
    assert pki.renew(NOW + dt.timedelta(days=19)) == []
    assert NOW + dt.timedelta(days=19) < pki.next_renewal() <= NOW + dt.timedelta(days=20)
    renewed = pki.renew(NOW + dt.timedelta(days=21))
    assert API in renewed
    assert ADMIN not in renewed


def test_server_context_is_refreshed_in_place(tmp_path: Path) -> None:
    pki = opened(tmp_path, dt.datetime.now(dt.UTC))
    context = pki.server_context()
    pki.refresh(context, API)
    pki.client_context(ADMIN)


def test_kubeconfig_is_complete(tmp_path: Path) -> None:
    tree = yaml.safe_load(opened(tmp_path).admin_kubeconfig("https://127.0.0.1:6443"))
    assert tree["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert tree["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}


def test_a_broken_authority_is_named(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"nonsense")
    with pytest.raises(PkiError, match=r"ca\.pem"):
        opened(tmp_path)
