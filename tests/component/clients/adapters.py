"""Each client behind the same few verbs. An adapter has a method for each verb that its client offers for an object."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kr8s
import lightkube
import lightkube.codecs
from kr8s.objects import APIObject, new_class, object_from_spec
from kubernetes import client as typed
from kubernetes import config, dynamic, watch
from lightkube.types import PatchType
from manifest import kind_of

from pilothouse.kinds.kind import Kind

Tree = dict[str, Any]
_NOTE = "matrix.test/note"
_PATIENCE_SECONDS = 120.0


class NotOffered(Exception):
    """The client has no way to ask for it."""


class Gone(Exception):
    """The object does not exist."""


def name_of(tree: Tree) -> str:
    name: str = tree["metadata"]["name"]
    return name


def note(text: str) -> Tree:
    """A patch that notes which verb wrote."""
    return {"metadata": {"annotations": {_NOTE: text}}}


def noted(annotations: Any, text: str) -> None:
    """Fails unless the object carries the note."""
    assert dict(annotations or {}).get(_NOTE) == text, f"annotations are {annotations}"


class Adapter:
    """Verbs raise NotOffered for what the client cannot ask for, and whatever the client raises when it fails."""

    name = ""

    def verbs(self, kind: Kind) -> dict[str, Callable[[Tree], None]]:
        """The verbs to try, in order; the object exists from the first to the last."""
        found: dict[str, Callable[[Tree], None]] = {
            "create": self.create,
            "get": self.get,
            "list": self.list,
            "watch": self.watch,
            "update": self.update,
            "patch": self.patch,
            "apply": self.apply,
        }
        if kind.has_status:
            found["status"] = self.status
        if "scale" in kind.subresources:
            found["scale"] = self.scale
        if "deletecollection" in kind.verbs:
            found["deletecollection"] = self.delete_collection
        return {**found, "delete": self.delete}

    def create(self, tree: Tree) -> None:
        raise NotOffered

    def get(self, tree: Tree) -> None:
        raise NotOffered

    def list(self, tree: Tree) -> None:
        raise NotOffered

    def watch(self, tree: Tree) -> None:
        raise NotOffered

    def update(self, tree: Tree) -> None:
        raise NotOffered

    def patch(self, tree: Tree) -> None:
        raise NotOffered

    def apply(self, tree: Tree) -> None:
        raise NotOffered

    def status(self, tree: Tree) -> None:
        raise NotOffered

    def scale(self, tree: Tree) -> None:
        raise NotOffered

    def delete_collection(self, tree: Tree) -> None:
        """Leaves the object as it was: gone, then made again."""
        raise NotOffered

    def delete(self, tree: Tree) -> None:
        raise NotOffered

    def exists(self, tree: Tree) -> bool:
        raise NotImplementedError

    def wait_gone(self, tree: Tree) -> None:
        """Deletion takes a moment for what has a node or a controller to wait for."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.exists(tree):
            assert time.monotonic() < end, "it is not gone"
            time.sleep(0.05)


def selector(tree: Tree) -> str:
    return ",".join(f"{key}={value}" for key, value in tree["metadata"]["labels"].items())


class PythonTyped(Adapter):
    """The official Python client's generated classes, which check every field of the answers."""

    name = "kubernetes (Python)"

    def __init__(self, kubeconfig: Path) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))

    def _call(self, tree: Tree, verb: str, part: str = "", **arguments: Any) -> Any:
        group, _, version = tree["apiVersion"].rpartition("/")
        words = group.removesuffix(".k8s.io").split(".") if group else ["core"]
        api = getattr(typed, "".join(word.capitalize() for word in words) + version.capitalize() + "Api")
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", tree["kind"]).lower()
        namespaced = "namespace" in tree["metadata"]
        if namespaced:
            arguments["namespace"] = tree["metadata"]["namespace"]
        name = f"{verb}_{'namespaced_' if namespaced else ''}{kind}{part}"
        method = getattr(api(self._client), name, None)
        if method is None:
            raise NotOffered
        return method(**arguments)

    def create(self, tree: Tree) -> None:
        made = self._call(tree, "create", body=tree)
        assert made.metadata.name == name_of(tree)

    def get(self, tree: Tree) -> None:
        assert self._call(tree, "read", name=name_of(tree)).metadata.uid

    def list(self, tree: Tree) -> None:
        found = self._call(tree, "list", label_selector=selector(tree))
        assert [item.metadata.name for item in found.items] == [name_of(tree)]

    def watch(self, tree: Tree) -> None:
        seen = watch.Watch()

        def read(**arguments: Any) -> Any:
            return self._call(tree, "list", **arguments)

        # The library finds out what to decode by the method's documentation.
        read.__doc__ = ":return: object"
        for event in seen.stream(read, field_selector=f"metadata.name={name_of(tree)}", timeout_seconds=60):
            assert (event["type"], event["raw_object"]["metadata"]["name"]) == ("ADDED", name_of(tree))
            seen.stop()
            return
        raise AssertionError("nothing was seen")

    def update(self, tree: Tree) -> None:
        def replace() -> Any:
            live = self._call(tree, "read", name=name_of(tree))
            live.metadata.annotations = {**(live.metadata.annotations or {}), _NOTE: "update"}
            return self._call(tree, "replace", name=name_of(tree), body=live)

        noted(_retried(replace, typed.ApiException).metadata.annotations, "update")

    def patch(self, tree: Tree) -> None:
        done = self._call(tree, "patch", name=name_of(tree), body=note("patch"))
        noted(done.metadata.annotations, "patch")

    def apply(self, tree: Tree) -> None:
        done = self._call(
            tree,
            "patch",
            name=name_of(tree),
            body={**tree, "metadata": {**tree["metadata"], **note("apply")["metadata"]}},
            field_manager="matrix",
            force=True,
            _content_type="application/apply-patch+yaml",
        )
        noted(done.metadata.annotations, "apply")

    def status(self, tree: Tree) -> None:
        done = self._call(tree, "patch", "_status", name=name_of(tree), body=note("status"))
        noted(done.metadata.annotations, "status")

    def scale(self, tree: Tree) -> None:
        done = self._call(tree, "patch", "_scale", name=name_of(tree), body={"spec": {"replicas": 0}})
        assert done.spec.replicas in (0, None)

    def delete_collection(self, tree: Tree) -> None:
        group = "delete_collection"
        self._call(tree, group, label_selector=selector(tree))
        self.wait_gone(tree)
        self._call(tree, "create", body=tree)

    def delete(self, tree: Tree) -> None:
        self._call(tree, "delete", name=name_of(tree))
        self.wait_gone(tree)

    def exists(self, tree: Tree) -> bool:
        try:
            self._call(tree, "read", name=name_of(tree))
        except typed.ApiException as error:
            if error.status == 404:
                return False
            raise
        return True


def _retried(act: Callable[[], Any], error_type: type[Any]) -> Any:
    """Read and write again while controllers write in between."""
    for _ in range(20):
        try:
            return act()
        except error_type as error:
            if getattr(error, "status", None) != 409:
                raise
    raise AssertionError("always a conflict")


class PythonDynamic(Adapter):
    """The official Python client's dynamic client, which goes by discovery."""

    name = "kubernetes dynamic (Python)"

    def __init__(self, kubeconfig: Path) -> None:
        self._client = dynamic.DynamicClient(config.new_client_from_config(str(kubeconfig)))

    def _of(self, tree: Tree) -> Any:
        return self._client.resources.get(api_version=tree["apiVersion"], kind=tree["kind"])

    def _at(self, tree: Tree) -> dict[str, Any]:
        return {"name": name_of(tree), "namespace": tree["metadata"].get("namespace")}

    def create(self, tree: Tree) -> None:
        made = self._of(tree).create(body=tree, namespace=tree["metadata"].get("namespace"))
        assert made.metadata.name == name_of(tree)

    def get(self, tree: Tree) -> None:
        assert self._of(tree).get(**self._at(tree)).kind == tree["kind"]

    def list(self, tree: Tree) -> None:
        found = self._of(tree).get(namespace=tree["metadata"].get("namespace"), label_selector=selector(tree))
        assert [item.metadata.name for item in found.items] == [name_of(tree)]

    def watch(self, tree: Tree) -> None:
        at = {"namespace": tree["metadata"].get("namespace"), "field_selector": f"metadata.name={name_of(tree)}"}
        for event in self._of(tree).watch(**at, timeout=60):
            assert (event["type"], event["object"].metadata.name) == ("ADDED", name_of(tree))
            return
        raise AssertionError("nothing was seen")

    def update(self, tree: Tree) -> None:
        def replace() -> Any:
            live = self._of(tree).get(**self._at(tree)).to_dict()
            live["metadata"]["annotations"] = {**live["metadata"].get("annotations", {}), _NOTE: "update"}
            return self._of(tree).replace(body=live, **self._at(tree))

        noted(_retried(replace, typed.ApiException).metadata.annotations, "update")

    def patch(self, tree: Tree) -> None:
        content = "application/merge-patch+json"
        done = self._of(tree).patch(body=note("patch"), content_type=content, **self._at(tree))
        noted(done.metadata.annotations, "patch")

    def apply(self, tree: Tree) -> None:
        body = {**tree, "metadata": {**tree["metadata"], **note("apply")["metadata"]}}
        done = self._of(tree).server_side_apply(body=body, field_manager="matrix", force_conflicts=True)
        noted(done.metadata.annotations, "apply")

    def status(self, tree: Tree) -> None:
        content = "application/merge-patch+json"
        done = self._of(tree).status.patch(body=note("status"), content_type=content, **self._at(tree))
        noted(done.metadata.annotations, "status")

    def scale(self, tree: Tree) -> None:
        content = "application/merge-patch+json"
        body = {"spec": {"replicas": 0}}
        assert self._of(tree).scale.patch(body=body, content_type=content, **self._at(tree)).kind == "Scale"

    def delete_collection(self, tree: Tree) -> None:
        self._of(tree).delete(namespace=tree["metadata"].get("namespace"), label_selector=selector(tree))
        self.wait_gone(tree)
        self.create(tree)

    def delete(self, tree: Tree) -> None:
        self._of(tree).delete(**self._at(tree))
        self.wait_gone(tree)

    def exists(self, tree: Tree) -> bool:
        try:
            self._of(tree).get(**self._at(tree))
        except typed.ApiException as error:
            if error.status == 404:
                return False
            raise
        return True


class Lightkube(Adapter):
    """lightkube, with its models of every kind."""

    name = "lightkube"

    def __init__(self, kubeconfig: Path) -> None:
        self._client = lightkube.Client(lightkube.KubeConfig.from_file(str(kubeconfig)), field_manager="matrix")

    def _object(self, tree: Tree) -> Any:
        try:
            return lightkube.codecs.from_dict(tree)
        except lightkube.codecs.LoadResourceError as error:
            raise NotOffered from error

    def _at(self, tree: Tree) -> dict[str, Any]:
        namespace = tree["metadata"].get("namespace")
        return {"namespace": namespace} if namespace else {}

    def create(self, tree: Tree) -> None:
        assert self._client.create(self._object(tree)).metadata.name == name_of(tree)

    def get(self, tree: Tree) -> None:
        assert self._client.get(type(self._object(tree)), name_of(tree), **self._at(tree)).metadata.uid

    def list(self, tree: Tree) -> None:
        found = self._client.list(type(self._object(tree)), labels=tree["metadata"]["labels"], **self._at(tree))
        assert [item.metadata.name for item in found] == [name_of(tree)]

    def watch(self, tree: Tree) -> None:
        fields = {"metadata.name": name_of(tree)}
        seen = self._client.watch(type(self._object(tree)), fields=fields, server_timeout=60, **self._at(tree))
        for operation, found in seen:
            assert (operation, found.metadata.name) == ("ADDED", name_of(tree))
            return
        raise AssertionError("nothing was seen")

    def update(self, tree: Tree) -> None:
        def replace() -> Any:
            live = self._client.get(type(self._object(tree)), name_of(tree), **self._at(tree))
            live.metadata.annotations = {**(live.metadata.annotations or {}), _NOTE: "update"}
            return self._client.replace(live)

        noted(_retried_lightkube(replace).metadata.annotations, "update")

    def patch(self, tree: Tree) -> None:
        resource = type(self._object(tree))
        done = self._client.patch(resource, name_of(tree), note("patch"), patch_type=PatchType.MERGE, **self._at(tree))
        noted(done.metadata.annotations, "patch")

    def apply(self, tree: Tree) -> None:
        body = {**tree, "metadata": {**tree["metadata"], **note("apply")["metadata"]}}
        noted(self._client.apply(self._object(body), force=True).metadata.annotations, "apply")

    def status(self, tree: Tree) -> None:
        resource = getattr(type(self._object(tree)), "Status", None)
        if resource is None:
            raise NotOffered
        done = self._client.patch(resource, name_of(tree), note("status"), patch_type=PatchType.MERGE, **self._at(tree))
        noted(done.metadata.annotations, "status")

    def scale(self, tree: Tree) -> None:
        resource = getattr(type(self._object(tree)), "Scale", None)
        if resource is None:
            raise NotOffered
        patch = {"spec": {"replicas": 0}}
        assert self._client.patch(
            resource, name_of(tree), patch, patch_type=PatchType.MERGE, **self._at(tree)
        ).metadata.name == name_of(tree)

    def delete_collection(self, tree: Tree) -> None:
        if "namespace" not in tree["metadata"]:
            # It takes no selector, and what is outside namespaces is not the test's alone.
            raise NotOffered
        self._client.deletecollection(type(self._object(tree)), **self._at(tree))
        self.wait_gone(tree)
        self.create(tree)

    def delete(self, tree: Tree) -> None:
        self._client.delete(type(self._object(tree)), name_of(tree), **self._at(tree))
        self.wait_gone(tree)

    def exists(self, tree: Tree) -> bool:
        try:
            self._client.get(type(self._object(tree)), name_of(tree), **self._at(tree))
        except lightkube.ApiError as error:
            if error.status.code == 404:
                return False
            raise
        return True


def _retried_lightkube(act: Callable[[], Any]) -> Any:
    for _ in range(20):
        try:
            return act()
        except lightkube.ApiError as error:
            if error.status.code != 409:
                raise
    raise AssertionError("always a conflict")


class Kr8s(Adapter):
    """kr8s, its synchronous side."""

    name = "kr8s"

    def __init__(self, kubeconfig: Path) -> None:
        self._api = kr8s.api(kubeconfig=str(kubeconfig))

    def _object(self, tree: Tree) -> APIObject:
        try:
            return object_from_spec(tree, api=self._api)
        except KeyError:
            plural = kind_of(tree).resource.plural
            cls = new_class(tree["kind"], tree["apiVersion"], plural=plural, namespaced="namespace" in tree["metadata"])
            return cls(tree, api=self._api)

    def create(self, tree: Tree) -> None:
        found = self._object(tree)
        found.create()
        assert found.raw["metadata"]["uid"]

    def get(self, tree: Tree) -> None:
        found = self._object(tree)
        found.refresh()
        assert found.raw["metadata"]["uid"]

    def list(self, tree: Tree) -> None:
        kind = type(self._object(tree))
        at = {"namespace": tree["metadata"]["namespace"]} if "namespace" in tree["metadata"] else {}
        found = list(self._api.get(kind, label_selector=selector(tree), **at))
        assert [item.name for item in found] == [name_of(tree)]

    def watch(self, tree: Tree) -> None:
        kind = type(self._object(tree))
        at = {"namespace": tree["metadata"]["namespace"]} if "namespace" in tree["metadata"] else {}
        for event, found in self._api.watch(kind, label_selector=selector(tree), **at):
            assert (event, found.name) == ("ADDED", name_of(tree))
            return
        raise AssertionError("nothing was seen")

    def patch(self, tree: Tree) -> None:
        found = self._object(tree)
        found.patch(note("patch"))
        noted(found.annotations, "patch")

    def status(self, tree: Tree) -> None:
        found = self._object(tree)
        found.patch(note("status"), subresource="status")
        noted(found.annotations, "status")

    def scale(self, tree: Tree) -> None:
        found = self._object(tree)
        if not found.scalable:
            raise NotOffered
        found.scale(0)

    def delete(self, tree: Tree) -> None:
        self._object(tree).delete()
        self.wait_gone(tree)

    def exists(self, tree: Tree) -> bool:
        return bool(self._object(tree).exists())
