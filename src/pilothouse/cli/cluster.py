"""Any live cluster, read with a kubeconfig and the standard library alone: for a desk without the engine's parts."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from pilothouse.cli.errors import CommandError
from pilothouse.guard.live.documents import is_managed, trim
from pilothouse.guard.live.kinds import checked_kinds
from pilothouse.guard.report.document import Unread
from pilothouse.kinds.guard.finding import GROUP
from pilothouse.machinery.objects import Obj, Resource

_PAGE = 500
_SECONDS = 30.0


class Cluster:
    """A cluster as one context of a kubeconfig sees it. Raises CommandError for what cannot be used or reached."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        path, tree = _read(kubeconfig)
        try:
            self.context = context or str(tree["current-context"])
            chosen = _named(tree.get("contexts"), self.context, "context", path)["context"]
            cluster = _named(tree.get("clusters"), chosen["cluster"], "cluster", path)["cluster"]
            user = _named(tree.get("users"), chosen["user"], "user", path)["user"] if chosen.get("user") else {}
            server = urlsplit(str(cluster["server"]))
        except (KeyError, TypeError) as error:
            raise CommandError(f"{path} is not a complete kubeconfig: {error} is missing", code=2) from error
        if server.scheme != "https" or not server.hostname:
            raise CommandError(f"{path}: the server {cluster['server']!r} is no https address", code=2)
        self._host, self._port, self._base = server.hostname, server.port or 443, server.path.rstrip("/")
        user = {**user, **_from_program(user["exec"], path)} if user.get("exec") else user
        self._headers = _authorization(user, path)
        self._tls = _tls(cluster, user, path)
        self._name = str(cluster.get("tls-server-name") or "")
        self._connection: http.client.HTTPSConnection | None = None

    def objects(self, unread: list[Unread], also: Iterable[tuple[str, str]] = ()) -> Iterator[Obj]:
        """All objects that checks read and no workload makes; what may not be read is added to `unread`. `also` are the
        groups and plurals of further kinds, custom ones too."""
        kinds = list(checked_kinds())
        known = {(resource.group, resource.plural) for resource in kinds}
        for group, plural in sorted(set(also) - known):
            found = self._find(group, plural)
            if found is None:
                unread.append(Unread(self.context, f"own checks are about {plural}.{group}, which are not served here"))
            else:
                kinds.append(found)
        exemptions = self._find(GROUP, "exemptions")
        for resource in (*kinds, *((exemptions,) if exemptions else ())):
            try:
                yield from self._list(resource)
            except _Refused as refused:
                if refused.status == 404:
                    continue  # a kind this cluster does not serve: it has none of them
                unread.append(Unread(self.context, f"{resource.plural} cannot be read: {refused}"))

    def _find(self, group: str, plural: str) -> Resource | None:
        """A kind as discovery tells it, in the version the cluster prefers."""
        try:
            version = str(self._get(f"/apis/{group}")["preferredVersion"]["version"]) if group else "v1"
            served = self._get(f"/apis/{group}/{version}" if group else "/api/v1")
        except (_Refused, KeyError, TypeError):
            return None
        for entry in served.get("resources") or ():
            if entry.get("name") == plural:
                return Resource(group, version, str(entry["kind"]), plural, bool(entry.get("namespaced")))
        return None

    def _list(self, resource: Resource) -> Iterator[Obj]:
        token = ""
        while True:
            page = self._get(f"{resource.path()}?limit={_PAGE}" + (f"&continue={quote(token)}" if token else ""))
            for tree in page.get("items") or ():
                if is_managed(tree) or tree["metadata"].get("deletionTimestamp"):
                    continue
                status = {"status": tree.get("status")} if resource.group == GROUP else {}  # who granted an exemption
                yield trim({"apiVersion": resource.api_version, "kind": resource.kind, **tree}) | status
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _get(self, path: str) -> Obj:
        try:
            if self._connection is None:
                self._connection = _Connection(self._host, self._port, self._tls, self._name)
            self._connection.request("GET", self._base + path, headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"{self._host}:{self._port} (context {self.context}): {error}", code=2) from error
        if response.status == 401:
            raise CommandError(f"{self._host}:{self._port} does not accept the credentials of {self.context}", code=2)
        try:
            tree: Obj = json.loads(body)
        except ValueError as error:
            raise CommandError(f"{self._host}:{self._port} is no Kubernetes API: {body[:80]!r}", code=2) from error
        if response.status != 200:
            raise _Refused(response.status, str(tree.get("message", "")))
        return tree

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message or f"status {status}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """As the standard library's, with the name to check the certificate against."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=_SECONDS, context=context)
        self._tls, self._name = context, name or host

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _read(kubeconfig: str | None) -> tuple[str, dict[str, Any]]:
    """The file: as named, of $KUBECONFIG (its first file), or ~/.kube/config."""
    from_environment = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(kubeconfig or from_environment or Path.home() / ".kube" / "config")
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise CommandError(f"there is no {path}: name one with --kubeconfig or $KUBECONFIG", code=2) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{path} cannot be read: {error}", code=2) from error
    if not isinstance(tree, dict):
        raise CommandError(f"{path} is no kubeconfig", code=2)
    return str(path), tree


def _named(entries: Any, name: str, what: str, path: str) -> dict[str, Any]:
    listed = [entry for entry in entries or () if isinstance(entry, dict)]
    for entry in listed:
        if entry.get("name") == name:
            return entry
    known = ", ".join(str(entry.get("name")) for entry in listed) or "none"
    raise CommandError(f"{path} has no {what} {name}; it has {known}", code=2)


def _authorization(user: Mapping[str, Any], path: str) -> dict[str, str]:
    headers = {"accept": "application/json", "user-agent": "pilothouse-check"}
    if user.get("tokenFile"):
        return {**headers, "authorization": f"Bearer {_beside(path, user['tokenFile']).read_text().strip()}"}
    if user.get("token"):
        return {**headers, "authorization": f"Bearer {user['token']}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return {**headers, "authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return headers


def _from_program(asked: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Credentials of a `client.authentication.k8s.io` program, as managed clusters use."""
    environment = {**os.environ, **{entry["name"]: entry["value"] for entry in asked.get("env") or ()}}
    command = [str(asked.get("command")), *map(str, asked.get("args") or ())]
    question = {"apiVersion": asked.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(question)
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=60, check=True)
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path}: the program {command[0]} gave no credentials: {error}", code=2) from error
    found = {"token": status.get("token")}
    for name in ("clientCertificate", "clientKey"):
        if status.get(f"{name}Data"):
            key = "client-certificate-data" if name == "clientCertificate" else "client-key-data"
            found[key] = base64.b64encode(status[f"{name}Data"].encode()).decode()
    return found


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], path: str) -> ssl.SSLContext:
    try:
        authority = _data(cluster, "certificate-authority", path)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
        if certificate and key:
            # The library loads keys from files only; this one nobody else can read, and it is gone at once.
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                context.load_cert_chain(file.name)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: its certificates cannot be used: {error}", code=2) from error
    return context


def _data(tree: Mapping[str, Any], name: str, path: str) -> bytes:
    if tree.get(f"{name}-data"):
        return base64.b64decode(tree[f"{name}-data"])
    return _beside(path, tree[name]).read_bytes() if tree.get(name) else b""


def _beside(path: str, name: str) -> Path:
    """A file that a kubeconfig names, relative to it."""
    return Path(path).parent / name
