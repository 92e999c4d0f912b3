"""Which node needs which objects: those that the pods bound to it name, and the Secrets that their volumes name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pilothouse.apiserver.authorization.follow import Follower
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.pod import Pod
from pilothouse.store.store import Store


class Reference(NamedTuple):
    """An object a pod names; `resource` is the plural in the core group."""

    resource: str
    namespace: str
    name: str


class _Struct(msgspec.Struct, rename="camel"):
    """Only what matters here is decoded: this runs for every change of every pod."""


class _Named(_Struct):
    name: str = ""


class _SecretVolume(_Struct):
    secret_name: str = ""


class _Claim(_Struct):
    claim_name: str = ""


class _Source(_Struct):
    secret: _Named | None = None
    config_map: _Named | None = None


class _Projected(_Struct):
    sources: list[_Source] | None = None


class _Inline(_Struct):
    node_publish_secret_ref: _Named | None = None


class _Volume(_Struct):
    name: str = ""
    secret: _SecretVolume | None = None
    config_map: _Named | None = None
    persistent_volume_claim: _Claim | None = None
    ephemeral: _Struct | None = None
    projected: _Projected | None = None
    csi: _Inline | None = None


class _ValueFrom(_Struct):
    secret_key_ref: _Named | None = None
    config_map_key_ref: _Named | None = None


class _Env(_Struct):
    value_from: _ValueFrom | None = None


class _EnvFrom(_Struct):
    secret_ref: _Named | None = None
    config_map_ref: _Named | None = None


class _Container(_Struct):
    env: list[_Env] | None = None
    env_from: list[_EnvFrom] | None = None


class _Spec(_Struct):
    node_name: str = ""
    service_account_name: str = ""
    image_pull_secrets: list[_Named] | None = None
    volumes: list[_Volume] | None = None
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None


class _Meta(_Struct):
    uid: str = ""


class _Pod(_Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _Placed(_Struct):
    namespace: str = ""
    name: str = ""


class _Driver(_Struct):
    node_stage_secret_ref: _Placed | None = None
    node_publish_secret_ref: _Placed | None = None
    node_expand_secret_ref: _Placed | None = None


class _VolumeSpec(_Struct):
    claim_ref: _Placed | None = None
    csi: _Driver | None = None


class _PersistentVolume(_Struct):
    spec: _VolumeSpec = msgspec.field(default_factory=_VolumeSpec)


class NodeGraph:
    """The references of bound pods, by object and node. Call `catch_up` before reading."""

    def __init__(self, store: Store) -> None:
        self._decoder = msgspec.json.Decoder(_Pod)
        self._pods: dict[str, tuple[str, frozenset[Reference]]] = {}
        self._counts: dict[Reference, dict[str, int]] = {}
        self._follower = Follower(store, Pod.resource, self._pod, self._drop)
        self._volume_decoder = msgspec.json.Decoder(_PersistentVolume)
        self._secrets: dict[str, tuple[Reference, frozenset[Reference]]] = {}
        """By PersistentVolume of a driver: its claim, and the Secrets a node needs to mount it."""
        self._volumes = Follower(store, PersistentVolume.resource, self._volume, self._secrets.clear)

    async def catch_up(self) -> None:
        await self._follower.catch_up()
        await self._volumes.catch_up()

    def needs(self, node: str, reference: Reference) -> bool:
        """Whether a pod bound to the node names the object."""
        return node in self._counts.get(reference, ())

    def mounts_with(self, node: str, secret: Reference) -> bool:
        """Whether a volume that a pod bound to the node claims is mounted with the Secret."""
        return any(secret in secrets and self.needs(node, claim) for claim, secrets in self._secrets.values())

    def node_of(self, pod_key: str) -> str:
        """The node a pod is bound to, "" for none."""
        return self._pods.get(pod_key, ("", None))[0]

    def _pod(self, key: str, value: bytes | None) -> None:
        node, references = "", frozenset[Reference]()
        if value is not None:
            pod = self._decoder.decode(value)
            node = pod.spec.node_name
            if node:
                namespace, _, name = key.partition("/")
                references = frozenset(_references(namespace, name, pod.spec))
        before = self._pods.get(key)
        if before == (node, references):
            return
        if before is not None:
            self._count(*before, -1)
            del self._pods[key]
        if node:
            self._pods[key] = (node, references)
            self._count(node, references, 1)

    def _volume(self, key: str, value: bytes | None) -> None:
        self._secrets.pop(key, None)
        spec = self._volume_decoder.decode(value).spec if value is not None else _VolumeSpec()
        if spec.csi is None or spec.claim_ref is None:
            return
        named = (
            spec.csi.node_stage_secret_ref,
            spec.csi.node_publish_secret_ref,
            spec.csi.node_expand_secret_ref,
        )
        secrets = frozenset(Reference("secrets", ref.namespace, ref.name) for ref in named if ref is not None)
        if secrets:
            claim = Reference("persistentvolumeclaims", spec.claim_ref.namespace, spec.claim_ref.name)
            self._secrets[key] = claim, secrets

    def _count(self, node: str, references: frozenset[Reference], step: int) -> None:
        for reference in references:
            nodes = self._counts.setdefault(reference, {})
            nodes[node] = nodes.get(node, 0) + step
            if not nodes[node]:
                del nodes[node]
                if not nodes:
                    del self._counts[reference]

    def _drop(self) -> None:
        self._pods.clear()
        self._counts.clear()


def _references(namespace: str, pod: str, spec: _Spec) -> Iterator[Reference]:
    yield Reference("serviceaccounts", namespace, spec.service_account_name or "default")
    for secret in spec.image_pull_secrets or ():
        yield Reference("secrets", namespace, secret.name)
    for volume in spec.volumes or ():
        yield from _of_volume(namespace, pod, volume)
    for containers in (spec.containers, spec.init_containers, spec.ephemeral_containers):
        for container in containers or ():
            yield from _of_container(namespace, container)


def _of_volume(namespace: str, pod: str, volume: _Volume) -> Iterator[Reference]:
    if volume.secret is not None:
        yield Reference("secrets", namespace, volume.secret.secret_name)
    if volume.config_map is not None:
        yield Reference("configmaps", namespace, volume.config_map.name)
    if volume.persistent_volume_claim is not None:
        yield Reference("persistentvolumeclaims", namespace, volume.persistent_volume_claim.claim_name)
    if volume.ephemeral is not None:
        yield Reference("persistentvolumeclaims", namespace, f"{pod}-{volume.name}")
    if volume.csi is not None and volume.csi.node_publish_secret_ref is not None:
        yield Reference("secrets", namespace, volume.csi.node_publish_secret_ref.name)
    for source in (volume.projected.sources or ()) if volume.projected is not None else ():
        if source.secret is not None:
            yield Reference("secrets", namespace, source.secret.name)
        if source.config_map is not None:
            yield Reference("configmaps", namespace, source.config_map.name)


def _of_container(namespace: str, container: _Container) -> Iterator[Reference]:
    for env in container.env or ():
        if env.value_from is not None:
            if env.value_from.secret_key_ref is not None:
                yield Reference("secrets", namespace, env.value_from.secret_key_ref.name)
            if env.value_from.config_map_key_ref is not None:
                yield Reference("configmaps", namespace, env.value_from.config_map_key_ref.name)
    for source in container.env_from or ():
        if source.secret_ref is not None:
            yield Reference("secrets", namespace, source.secret_ref.name)
        if source.config_map_ref is not None:
            yield Reference("configmaps", namespace, source.config_map_ref.name)
