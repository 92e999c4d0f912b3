import dataclasses
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pilothouse.controllers.bootstrap_token.controller import seconds_left
from pilothouse.controllers.certificates.asked import Asked, read_request
from pilothouse.controllers.certificates.authority import CertificateAuthority, Leaf, create_authority, new_key
from pilothouse.controllers.certificates.decide import CLIENT, NODE_CLIENT, NODE_SERVING, approval, fault
from pilothouse.kinds.certificates.csr import CertificateSigningRequest, CertificateSigningRequestSpec
from pilothouse.kinds.core.node import Node, NodeAddress, NodeStatus
from pilothouse.kinds.core.secret import Secret

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
KEY = new_key().public_key()
NODE_ASKED = Asked("system:node:n1", ("system:nodes",), (), (), 0, KEY)
SERVING_ASKED = NODE_ASKED._replace(dns_names=("n1",), ip_addresses=("10.0.0.1",))
NODE = Node(status=NodeStatus(addresses=[NodeAddress(address="10.0.0.1"), NodeAddress(address="n1")]))


def request(signer: str, *usages: str, username: str = "system:node:n1") -> CertificateSigningRequest:
    spec = CertificateSigningRequestSpec(signer_name=signer, usages=list(usages), username=username)
    return CertificateSigningRequest(spec=spec)


@pytest.mark.parametrize(
    ("signer", "usages", "asked", "problem"),
    [
        (NODE_CLIENT, ("client auth", "digital signature"), NODE_ASKED, ""),
        (NODE_CLIENT, ("client auth", "server auth"), NODE_ASKED, "usages"),
        (NODE_CLIENT, ("client auth",), NODE_ASKED._replace(organizations=("system:masters",)), "subject"),
        (NODE_CLIENT, ("client auth",), NODE_ASKED._replace(organizations=("system:nodes", "x")), "subject"),
        (NODE_CLIENT, ("client auth",), NODE_ASKED._replace(common_name="admin"), "subject"),
        (NODE_CLIENT, ("client auth",), SERVING_ASKED, "names are not allowed"),
        (NODE_SERVING, ("server auth",), SERVING_ASKED, ""),
        (NODE_SERVING, ("client auth",), SERVING_ASKED, "usages"),
        (NODE_SERVING, ("server auth",), NODE_ASKED, "at least one"),
        (NODE_SERVING, ("server auth",), SERVING_ASKED._replace(others=1), "URI"),
        (NODE_SERVING, ("server auth",), SERVING_ASKED._replace(common_name="system:node:n2"), "may not ask"),
        (CLIENT, ("client auth",), NODE_ASKED._replace(common_name="jane", organizations=("dev",)), ""),
        (CLIENT, ("client auth",), NODE_ASKED._replace(organizations=("system:masters",)), "system:masters"),
        (CLIENT, ("client auth",), NODE_ASKED._replace(public_key=None), "elliptic"),
    ],
)
def test_what_is_never_signed(signer: str, usages: tuple[str, ...], asked: Asked, problem: str) -> None:
    found = fault(request(signer, *usages), asked)
    assert problem in found
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(
    ("key", "usable"),
    [
        (new_key(), True),
        (ed25519.Ed25519PrivateKey.generate(), True),
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
    ],
)
def test_keys_that_people_have_are_signed_for(key: Any, usable: bool) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    asked = read_request(made.public_bytes(serialization.Encoding.PEM))
    assert bool(asked.public_key) is usable
    if asked.public_key is not None:
        authority = CertificateAuthority(*create_authority("ca", dt.timedelta(days=10), NOW))
        pem = authority.issue(Leaf("ann", client=True), asked.public_key, dt.timedelta(days=1), NOW)
        assert x509.load_pem_x509_certificate(pem).public_key() == key.public_key()


def test_approval_needs_rights_or_registered_addresses() -> None:
    own = approval(request(NODE_CLIENT), NODE_ASKED, None)
    joining = approval(request(NODE_CLIENT, username="system:bootstrap:abcdef"), NODE_ASKED, None)
    assert (own.permission, joining.permission) == ("selfnodeclient", "nodeclient")
    assert approval(request(NODE_SERVING), SERVING_ASKED, NODE).approve
    assert not approval(request(NODE_SERVING), SERVING_ASKED, None).approve
    stranger = SERVING_ASKED._replace(ip_addresses=("10.0.0.2",))
    assert "10.0.0.2" in approval(request(NODE_SERVING), stranger, NODE).why
    assert not approval(request(CLIENT), NODE_ASKED, NODE).approve


def test_issued_certificates_say_what_was_granted_and_end_with_the_authority() -> None:
    authority = CertificateAuthority(*create_authority("ca", dt.timedelta(days=10), NOW))
    leaf = Leaf("system:node:n1", ["system:nodes"], ["n1"], ["10.0.0.1"], server=True)
    pem = authority.issue(leaf, KEY, dt.timedelta(days=30), NOW)
    issued = x509.load_pem_x509_certificate(pem)
    assert issued.not_valid_after_utc == NOW + dt.timedelta(days=10)
    usages = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    both = dataclasses.replace(leaf, client=True)
    again = x509.load_pem_x509_certificate(authority.issue(both, KEY, dt.timedelta(days=1), NOW))
    assert len(list(again.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)) == 2


def test_a_key_of_another_authority_is_refused() -> None:
    first, second = create_authority("a", dt.timedelta(1), NOW), create_authority("b", dt.timedelta(1), NOW)
    with pytest.raises(ValueError, match="does not belong"):
        CertificateAuthority(first[0], second[1])


def test_requests_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_request(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ({}, None),
        ({"expiration": "MjAyNi0xMS0wMVQwMDowMTowMFo="}, 60.0),
        ({"expiration": "MjAyNi0xMC0wMVQwMDowMTowMFo="}, 0.0),
        ({"expiration": "c29vbg=="}, 0.0),
        ({"expiration": "!"}, 0.0),
    ],
)
def test_what_is_left_of_a_token(data: dict[str, str], left: float | None) -> None:
    assert seconds_left(Secret(data=data), NOW) == left
