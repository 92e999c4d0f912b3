"""The objects that every client is tried with: one of each kind."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pilothouse.kinds.catalogue import KINDS, by_kind
from pilothouse.kinds.kind import Kind

STANDARD = tuple(kind for kind in KINDS if not kind.resource.group.endswith("pilothouse.dev"))
"""The kinds of Kubernetes."""
FILE = Path(__file__).parent / "objects.yaml"


def text(namespace: str) -> str:
    """The manifest for a namespace."""
    request = base64.b64encode(_signing_request()).decode()
    return FILE.read_text().replace("NAMESPACE", namespace).replace("request: CSR", f"request: {request}")


def objects(namespace: str, **labels: str) -> list[dict[str, Any]]:
    """The manifest's trees, labelled."""
    trees = [copy.deepcopy(tree) for tree in yaml.safe_load_all(text(namespace))]
    for tree in trees:
        tree["metadata"]["labels"] = dict(labels)
    return trees


def kind_of(tree: dict[str, Any]) -> Kind:
    """The catalogue's entry of an object."""
    group, _, version = tree["apiVersion"].rpartition("/")
    kind = by_kind(group, version, tree["kind"])
    assert kind is not None, f"{tree['apiVersion']} {tree['kind']} is not served"
    return kind


def _signing_request() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "matrix")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)
