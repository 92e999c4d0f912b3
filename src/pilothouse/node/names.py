"""A pod's names and name resolution: hostname, /etc/hosts, resolver configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.kinds.core.pod import Pod

_HOSTNAME_LIMIT = 63
_SEARCHES_LIMIT = 32
_SERVERS_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Resolver:
    """The content of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hostname(pod: Pod, domain: str) -> str:
    """The host name processes in the pod see."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override
    name = pod.spec.hostname or pod.name[:_HOSTNAME_LIMIT].rstrip("-.")
    return fqdn(pod, domain) or name if pod.spec.set_hostname_as_fqdn else name


def fqdn(pod: Pod, domain: str) -> str:
    """The full name of a pod with a subdomain, else empty."""
    name = pod.spec.hostname or pod.name[:_HOSTNAME_LIMIT].rstrip("-.")
    return f"{name}.{pod.spec.subdomain}.{pod.namespace}.svc.{domain}" if pod.spec.subdomain else ""


def hosts_file(pod: Pod, addresses: Sequence[str], domain: str, host_file: str = "") -> str:
    """The text of /etc/hosts; `host_file` is the host's own, used by pods in the host's network."""
    if pod.spec.host_network:
        lines = ["# Kubernetes-managed hosts file (host network).", *host_file.splitlines()]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        for address in addresses:
            full = fqdn(pod, domain)
            short = pod.spec.hostname or pod.name[:_HOSTNAME_LIMIT].rstrip("-.")
            lines.append("\t".join([address, full, short] if full else [address, short]))
    if pod.spec.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias.ip, *alias.hostnames]) for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def resolver(pod: Pod, host: Resolver, cluster_dns: str, domain: str) -> Resolver:
    """What the pod's resolv.conf says, by dnsPolicy and dnsConfig."""
    policy = pod.spec.dns_policy
    if policy == "None":
        base = Resolver()
    elif policy == "Default" or (policy == "ClusterFirst" and pod.spec.host_network) or not cluster_dns:
        base = host
    else:
        searches = (f"{pod.namespace}.svc.{domain}", f"svc.{domain}", domain, *host.searches)
        base = Resolver((cluster_dns,), searches, ("ndots:5",))
    config = pod.spec.dns_config
    if config is None:
        return base
    options = {option.partition(":")[0]: option for option in base.options}
    for added in config.options:
        options[added.name] = f"{added.name}:{added.value}" if added.value else added.name
    return Resolver(
        _unique(base.servers + tuple(config.nameservers))[:_SERVERS_LIMIT],
        _unique(base.searches + tuple(config.searches))[:_SEARCHES_LIMIT],
        tuple(options.values()),
    )


def parse_resolv_conf(text: str) -> Resolver:
    """The resolver configuration that the text of a resolv.conf holds."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = tuple(word for word in words[1:] if word != ".")
        elif words[0] == "options":
            options += words[1:]
    return Resolver(tuple(servers), searches, tuple(options))


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
