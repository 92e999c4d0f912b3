"""Everything but roles that a cluster holds from its first start. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from pilothouse.kinds.families import family_of
from pilothouse.machinery.objects import Obj

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SYSTEM_CRITICAL = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the objects tell of this cluster. `server` is the API's URL as other machines reach it."""

    service_ip: str
    api_address: str
    api_port: int
    server: str
    ca_pem: bytes
    pod_range: str
    service_range: str
    domain: str


def priority_classes() -> list[Obj]:
    return [
        {
            "metadata": {"name": "system-cluster-critical"},
            "value": _SYSTEM_CRITICAL,
            "description": "Used for system critical pods that must run in the cluster, but can be moved to another "
            "node if necessary.",
        },
        {
            "metadata": {"name": "system-node-critical"},
            "value": _SYSTEM_CRITICAL + 1000,
            "description": "Used for system critical pods that must not be moved from their current node.",
        },
    ]


def storage_class() -> Obj:
    """Volumes as directories on the node where the pod runs."""
    return {
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "pilothouse.io/local",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def ingress_class() -> Obj:
    """Ingresses served by HAProxy on the API's machine."""
    return {
        "metadata": {"name": "pilothouse", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "pilothouse.io/ingress"},
    }


def service_cidr(cluster: Cluster) -> Obj:
    """The range Services get their addresses from. Source: KEP-1880."""
    return {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cluster.service_range.split(",")}}


def kubernetes_service(cluster: Cluster) -> Obj:
    """The API's own Service."""
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster.service_ip,
            "clusterIPs": [cluster.service_ip],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": cluster.api_port}],
        },
    }


def kubernetes_endpoints(cluster: Cluster) -> Obj:
    """Where the API's Service leads."""
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family_of(cluster.api_address),
        "endpoints": [{"addresses": [cluster.api_address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": cluster.api_port}],
    }


def kubernetes_legacy_endpoints(cluster: Cluster) -> Obj:
    """The same for clients that read Endpoints; the slice above is not made of it."""
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": cluster.api_address}],
                "ports": [{"name": "https", "protocol": "TCP", "port": cluster.api_port}],
            }
        ],
    }


def extension_authentication(cluster: Cluster) -> Obj:
    """What the servers of aggregated APIs need to know whom they may believe. Source: `kube-apiserver`, the ConfigMap
    `extension-apiserver-authentication`."""

    def listed(*values: str) -> str:
        return orjson.dumps(values).decode()

    authority = cluster.ca_pem.decode()
    return {
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": authority,
            "requestheader-allowed-names": listed("front-proxy-client"),
            "requestheader-client-ca-file": authority,
            "requestheader-extra-headers-prefix": listed("X-Remote-Extra-"),
            "requestheader-group-headers": listed("X-Remote-Group"),
            "requestheader-uid-headers": listed("X-Remote-Uid"),
            "requestheader-username-headers": listed("X-Remote-User"),
        },
    }


def cluster_info(cluster: Cluster) -> Obj:
    """The cluster's introduction to joining nodes, readable by everybody: where it is and who vouches for it."""
    import base64

    import yaml

    authority = base64.b64encode(cluster.ca_pem).decode()
    entry = {"name": "", "cluster": {"certificate-authority-data": authority, "server": cluster.server}}
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "clusters": [entry], "contexts": None, "users": None}
    network = {"podRange": cluster.pod_range, "serviceRange": cluster.service_range, "domain": cluster.domain}
    return {
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {
            "kubeconfig": yaml.safe_dump(kubeconfig, sort_keys=False),
            "network": orjson.dumps(network).decode(),
        },
    }
