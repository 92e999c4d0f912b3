"""The fixed part of the nftables table: its maps, and the chains through which every packet passes. Pure text.

A service costs map elements, never chains: `services` maps address, protocol and port to a balancing chain shared by
all services with as many endpoints; that chain puts a random slot in the packet's mark, and `endpoints` maps the
same key with the mark to the endpoint. `inside` goes before `services` for clients in the cluster, where a traffic
policy treats those from outside differently. Marks are 0x5048 to 0x504f in the upper half, and are cleared again before
routing, except for the bit that asks for masquerade, which is cleared on the way out.
"""

from __future__ import annotations

import re

from pilothouse.network.facts import NodeFacts

FRONTEND = "ip daddr . meta l4proto . th dport"

# Declared by type, not by typeof: nftables 1.0.6 refuses a rule that matches tcp and looks up a `th dport` of a map
# it knows from the kernel ("conflicting protocols specified: tcp vs. th").
_KEY = "ipv4_addr . inet_proto . inet_service"

SETS: dict[str, str] = {
    "services": f"map services {{ type {_KEY} : verdict; }}",
    "inside": f"map inside {{ type {_KEY} : verdict; }}",
    "endpoints": f"map endpoints {{ type {_KEY} . mark : ipv4_addr . inet_service; }}",
    "identities": f"map identities {{ type {_KEY} . mark : mark; }}",
    "hairpin": "set hairpin { type ipv4_addr . ipv4_addr; }",
    "refused": f"set refused {{ type {_KEY}; }}",
    "limited": f"set limited {{ type {_KEY}; }}",
    "permitted": f"set permitted {{ type ipv4_addr . {_KEY}; flags interval; }}",
    "nodes": "set nodes { type ipv4_addr; }",
    "egress": "map egress { type ipv4_addr : verdict; }",
    "ingress": "map ingress { type ipv4_addr : verdict; }",
    "isolated": "set isolated { type ipv4_addr; }",
    "paced_out": "map paced_out { type ipv4_addr : limit; }",
    "paced_in": "map paced_in { type ipv4_addr : limit; }",
}
"""The sets whose elements follow the cluster's objects."""

_SEEN = f"ip saddr . {FRONTEND}"
VXLAN_PORT = 8475
"""UDP port of tunnels between nodes; not the usual one, which other software on the host may use."""
LOG_GROUP = 20552
"""The nfnetlink_log group of new and of denied flows; the prefix tells which: `seen`, `ingress` or `egress`."""

DENIED = "denied"
"""The limit to how many denied packets are told of."""

_KERNEL_FILLED = (
    f"set seen {{ type ipv4_addr . {_KEY}; size 65536; flags dynamic,timeout; timeout 60s; }}",
    f"map affinity {{ type ipv4_addr . {_KEY} : mark; size 65536; flags dynamic,timeout; timeout 3h; }}",
    f"limit {DENIED} {{ rate 500/second burst 1000 packets; }}",
)

KERNEL_FILLED = ("seen", "affinity")
"""The sets that packets fill."""

_LOG = re.compile(r' log prefix "\w+" group \d+ snaplen \d+')
_NOT_SYN = "ct state new tcp flags & (fin | syn | rst | ack) != syn"


def chains(facts: NodeFacts) -> dict[str, tuple[str, ...]]:
    """Every base chain: its hook first, then its rules. IPv6 has no way from ::1 to a node port: no route_localnet."""
    pods, services, dns = facts.pod_range, facts.service_range, facts.dns_address
    local = facts.version == 4
    translate = (f"{FRONTEND} vmap @inside", f"{FRONTEND} vmap @services")
    settle = (
        "meta mark & 0xfff90000 == 0x50480000 meta mark set 0",
        f"ip daddr {services} ip daddr != {dns} goto refuse" if dns else f"ip daddr {services} goto refuse",
        f"{FRONTEND} @refused goto refuse",
    )
    return {
        # Each pair of addresses and port is told once a minute, denied packets at a bounded rate.
        "note": (
            "",
            f"meta l4proto {{ tcp, udp, sctp }} ct state new {_SEEN} != @seen add @seen {{ {_SEEN} timeout 60s }}"
            f' log prefix "seen" group {LOG_GROUP} snaplen 64',
        ),
        **{
            f"deny_{direction}": (
                "",
                "counter",
                f'limit name "{DENIED}" log prefix "{direction}" group {LOG_GROUP} snaplen 64',
                "drop",
            )
            for direction in ("ingress", "egress")
        },
        "refuse": ("", "meta l4proto tcp reject with tcp reset", "reject with icmp port-unreachable"),
        # route_localnet lets 127.0.0.1:NODEPORT work; packets from outside must not profit from it.
        "guard": (
            "type filter hook prerouting priority -300; policy accept;",
            *(f'iifname != "lo" ip {side} 127.0.0.0/8 drop' for side in ("daddr", "saddr") if local),
            # Who can send into a tunnel sends to pods past every policy's view of its source.
            f"udp dport {VXLAN_PORT} ip saddr != @nodes drop",
            f"{FRONTEND} @limited ip saddr . {FRONTEND} != @permitted drop",
            f"ip saddr {pods} limit name ip saddr map @paced_out drop",
        ),
        "translate_in": (
            "type nat hook prerouting priority -100; policy accept;",
            f"ip saddr {pods} {translate[0]}",
            translate[1],
        ),
        "translate_out": ("type nat hook output priority -100; policy accept;", *translate),
        "settle_in": ("type filter hook prerouting priority -99; policy accept;", *settle),
        "settle_out": ("type filter hook output priority -99; policy accept;", *settle),
        "leave": (
            "type nat hook postrouting priority 100; policy accept;",
            "meta mark & 0xfff90000 == 0x50490000 meta mark set 0 masquerade fully-random",
            f"ip saddr {pods} ip saddr . ip daddr @hairpin masquerade fully-random",
            *(('ip saddr 127.0.0.0/8 oifname != "lo" masquerade fully-random',) if local else ()),
            f"ip saddr {pods} ip daddr != {{ {pods}, {services} }} masquerade fully-random",
        ),
        "pace": (
            "type filter hook postrouting priority 300; policy accept;",
            f"ip daddr {pods} limit name ip daddr map @paced_in drop",
        ),
        # Flows a policy no longer allows are forgotten by conntrack (see cut.py); a packet from the middle of one
        # must not open it anew from the other side, so new flows of isolated pods begin with SYN.
        "forward": (
            "type filter hook forward priority 0; policy accept;",
            "ct state established,related accept",
            f"ip saddr {pods} ct state invalid drop",
            "ip saddr . ip daddr @hairpin accept",
            f"{_NOT_SYN} ip saddr @isolated drop",
            f"{_NOT_SYN} ip daddr @isolated drop",
            "ip saddr vmap @egress",
            "ip daddr vmap @ingress",
            f"ip saddr {pods} goto note",
            f"ip daddr {pods} goto note",
        ),
        # A pod may always reach its own node, except that cluster DNS counts as a pod.
        "input": (
            "type filter hook input priority 0; policy accept;",
            *(
                (
                    f"ip daddr != {dns} accept",
                    "ct state established,related accept",
                    "ip saddr vmap @egress",
                    f"ip saddr {pods} goto note",
                )
                if dns
                else ()
            ),
        ),
    }


def commands(table: str, facts: NodeFacts, *, logging: bool = True) -> str:
    """The batch that makes the fixed part, or brings an existing one up to date; elements stay as they are.

    Without `logging` flows are not told: for kernels without nfnetlink_log, which refuse such rules.
    """
    lines = [f"add table ip {table}"]
    for declaration in (*SETS.values(), *_KERNEL_FILLED):
        kind, name, body = declaration.split(" ", 2)
        lines.append(f"add {kind} ip {table} {name} {body}")
    for name, (hook, *_) in chains(facts).items():
        lines.append(f"add chain ip {table} {name}" + (f" {{ {hook} }}" if hook else ""))
        lines.append(f"flush chain ip {table} {name}")
    for name, (_, *rules) in chains(facts).items():
        found = rules if logging else [_LOG.sub("", rule) for rule in rules]
        lines += [f"add rule ip {table} {name} {rule}" for rule in found]
    return "\n".join(lines) + "\n"
