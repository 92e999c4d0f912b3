"""Keeps HAProxy like the Ingresses, Gateways and HTTPRoutes, and their status like what is served.

TLS Secrets are read one by one, by the names that Ingresses and Gateways give; nothing lists or watches Secrets. A
renewed one is noticed within ten seconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import ssl
import tempfile
from collections.abc import Mapping

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.shared import SharedInformers
from pilothouse.ingress import haproxy
from pilothouse.ingress.gateway.plan import GatewayPlan, Verdict
from pilothouse.ingress.gateway.source import Gateways
from pilothouse.ingress.ports import Ports
from pilothouse.ingress.proxy import Proxy, ProxyError
from pilothouse.ingress.routes import Certificate, Plan, claims, plan
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.networking.ingress_class import IngressClass
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj

log = logging.getLogger(__name__)

NAME = "ingress-controller"
_GATHER = 0.05
_LOOK_SECONDS = 10.0


async def run(client: Client, informers: SharedInformers, events: EventRecorder, proxy: Proxy, address: str) -> None:
    """Serves Ingresses at `address` until cancelled; HAProxy goes on after that."""
    await Controller(client, informers, events, proxy, address).run()


class Controller:
    def __init__(
        self, client: Client, informers: SharedInformers, events: EventRecorder, proxy: Proxy, address: str
    ) -> None:
        self._client = client
        self._events = events
        self._proxy = proxy
        self._address = address
        self._ingresses = informers.of(Ingress)
        self._classes = informers.of(IngressClass)
        self._services = informers.of(Service)
        self._wake = asyncio.Event()
        self._gateways = Gateways(client, informers, address, self._wake.set)
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        for informer in (self._ingresses, self._classes, self._services):
            await informer.synced()
        await self._gateways.watch()
        self._ingresses.subscribe(lambda key, old, new: self._wake.set())
        self._classes.subscribe(lambda key, old, new: self._wake.set())
        self._services.subscribe(self._service_changed)
        while True:
            self._wake.clear()
            try:
                served = await self._converge()
            except (ApiError, OSError) as error:
                log.error("ingresses could not be served, trying again: %s", error)
                served = True
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS if served else None)
            except TimeoutError:
                continue
            await asyncio.sleep(_GATHER)

    def _service_changed(self, key: str, old: Service | None, new: Service | None) -> None:
        if (old.spec, old.status) != (new.spec, new.status) if old and new else True:
            self._wake.set()

    async def _converge(self) -> bool:
        services = {service.key: service for service in self._services}
        made = plan(self._ingresses, self._classes, services)
        held = claims(list(services.values()), self._address)
        gateways = await self._gateways.plan(services, Ports(self._proxy, self._address, held, made).taken)
        serving, failure = False, ""
        if not made.served and not gateways.ports:
            if self._proxy.running() or self._proxy.directory.exists():
                await self._proxy.stop()
        else:
            serving, failure = await self._serve(made, gateways, held)
        for key in made.served:
            self._tell(key, made.problems.get(key, []))
        self._told = {key: text for key, text in self._told.items() if key in made.served}
        await self._write_status(set(made.served) if serving else set())
        await self._gateways.tell(gateways, failure)
        return bool(made.served or gateways.listeners)

    async def _serve(self, made: Plan, gateways: GatewayPlan, held: Mapping[int, str]) -> tuple[bool, str]:
        """Whether HAProxy runs, and why it does not run as it should."""
        lost = [
            f"port {port} of {self._address} to service {held[port]}"
            for port in (haproxy.HTTP, haproxy.HTTPS)
            if made.served and port in held
        ]
        if lost:
            failure = f"not served: there belongs {', '.join(lost)}"
            for key in made.served:
                made.problems.setdefault(key, []).append(failure)
            return self._proxy.running(), failure
        files, pairs = await self._certificates(made)
        files["certificates"] = haproxy.certificate_list(pairs).encode()
        for port, tls in gateways.ports.items():
            if tls:
                own = await self._gateway_certificates(gateways, port, files)
                shared = pairs if port == haproxy.HTTPS else []
                files[haproxy.certificate_file(port)] = haproxy.certificate_list([*shared, *own]).encode()
        text = haproxy.config(made, self._address, str(self._proxy.directory), pairs, gateways)
        try:
            await self._proxy.apply(text, files)
        except ProxyError as error:
            for key in made.served:
                made.problems.setdefault(key, []).append(str(error))
            return self._proxy.running(), str(error)
        return self._proxy.running(), ""

    async def _gateway_certificates(
        self, gateways: GatewayPlan, port: int, files: dict[str, bytes]
    ) -> list[haproxy.Pair]:
        """The certificates for a port of Gateways; a listener whose Secret cannot be used says so."""
        pairs: list[haproxy.Pair] = []
        for listeners in gateways.listeners.values():
            for found in listeners:
                if found.listener.port != port:
                    continue
                for certificate in found.certificates:
                    name = _file_name(certificate)
                    try:
                        if name not in files:
                            files[name] = await self._pem(certificate)
                        pairs.append(haproxy.Pair(f"{self._proxy.directory}/{name}", certificate.hosts))
                    except ValueError as error:
                        found.conditions["ResolvedRefs"] = Verdict(False, "InvalidCertificateRef", str(error))
        if not pairs:
            del gateways.ports[port]
        return pairs

    async def _certificates(self, made: Plan) -> tuple[dict[str, bytes], list[haproxy.Pair]]:
        """The files of all TLS Secrets that can be used, and what each is for."""
        files: dict[str, bytes] = {}
        pairs: list[haproxy.Pair] = []
        for certificate in dict.fromkeys(made.certificates):
            name = _file_name(certificate)
            try:
                if name not in files:
                    files[name] = await self._pem(certificate)
                pairs.append(haproxy.Pair(f"{self._proxy.directory}/{name}", certificate.hosts))
            except ValueError as error:
                for key in made.served:
                    if self._uses(key, certificate):
                        made.problems.setdefault(key, []).append(str(error))
        return files, pairs

    def _uses(self, key: str, certificate: Certificate) -> bool:
        ingress = self._ingresses.get(key)
        if ingress is None or ingress.namespace != certificate.namespace:
            return False
        return any(tls.secret_name == certificate.secret for tls in ingress.spec.tls)

    async def _pem(self, certificate: Certificate) -> bytes:
        """Certificate and key of a Secret, as one file. Raises ValueError for what cannot be used."""
        try:
            secret = await self._client.get(Secret, certificate.secret, certificate.namespace)
        except NotFound as error:
            raise ValueError(f'secret "{certificate.secret}" not found') from error
        try:
            parts = [base64.b64decode(secret.data[key], validate=True) for key in ("tls.crt", "tls.key")]
        except (KeyError, binascii.Error) as error:
            raise ValueError(f'secret "{certificate.secret}" has no tls.crt and tls.key') from error
        pem = b"\n".join(part.rstrip() for part in parts) + b"\n"
        await asyncio.to_thread(_check, certificate.secret, pem)
        return pem

    def _tell(self, key: str, problems: list[str]) -> None:
        text = "; ".join(dict.fromkeys(problems))
        ingress = self._ingresses.get(key)
        if ingress is None or self._told.get(key, "") == text:
            return
        self._told[key] = text
        if text:
            self._events.event(ingress, "Warning", "Rejected", text)
        else:
            self._events.event(ingress, "Normal", "Sync", "Scheduled for sync")

    async def _write_status(self, served: set[str]) -> None:
        for ingress in list(self._ingresses):
            present = [entry.ip for entry in ingress.status.load_balancer.ingress]
            if ingress.key in served:
                wanted = [self._address]
            elif present == [self._address]:
                wanted = []
            else:
                continue
            if wanted == present or ingress.metadata.deletion_timestamp is not None:
                continue
            entries: list[Obj] = [{"ip": address} for address in wanted]
            status = {"loadBalancer": {"ingress": entries or None}}
            patch = {"metadata": {"uid": ingress.metadata.uid}, "status": status}
            try:
                await self._client.patch(Ingress, ingress.name, ingress.namespace, patch, subresource="status")
            except NotFound:
                continue


def _file_name(certificate: Certificate) -> str:
    return f"{certificate.namespace}_{certificate.secret}.pem"


def _check(name: str, pem: bytes) -> None:
    """Raises ValueError unless the key is the certificate's."""
    with tempfile.NamedTemporaryFile(prefix="pilothouse-") as file:
        file.write(pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except (ssl.SSLError, OSError) as error:
            raise ValueError(f'secret "{name}" holds no certificate with its key: {error}') from error
