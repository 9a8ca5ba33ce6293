"""Why peers are not found or not heard: findings from evidence, each with a remedy. Pure.

`diagnose` goes from this machine outwards: its interfaces, its port, multicast, then every peer.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from peer.doctor_links import among_themselves, company, one_way, one_way_elsewhere
from peer.evidence import Reached
from peer.findings import Finding, Level, listed
from peer.refused import why_apart
from wire import RejectReason, parse_address
from wire.addresses import is_loopback
from wire.records import incompatibility

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peer.evidence import Evidence, Multicast, Probe
    from wire.addresses import IpAddress, LocalAddress

CLOCK_AHEAD_S_MAX: Final = 30.0  # the protocol needs no clocks; certificates and logs do
DOCKER_BRIDGE: Final = ipaddress.ip_network("172.17.0.0/16")
ZEROCONF: Final = "zeroconf"

DIALLED: Final = {  # why an address does not lead to an agent, and what to do
    Reached.NO_NAME: ("cannot be looked up", "check the spelling and the DNS server, or give an IP address"),
    Reached.NO_ROUTE: ("cannot be reached", "check address, cable or Wi-Fi, routes and VPN"),
    Reached.REFUSED: (
        "refuses connections",
        "nobody listens on that port, or a firewall rejects: start the agent, compare the port, open it",
    ),
    Reached.SILENT: (
        "does not answer",
        "the machine is off or elsewhere, or a firewall drops packets: open that TCP port on the way there",
    ),
    Reached.NO_AGENT: (
        "is no agent",
        "another program listens there: compare the port with what `run` prints",
    ),
}


NO_TASK: Final = Finding(
    Level.NOTE,
    "no task",
    "without --task agents are compared with each other only",
    "give --task, or --config FILE with it, and the other options of run: whether they fit this machine",
)


def diagnose(evidence: Evidence) -> list[Finding]:
    """Everything worth a line, from this machine outwards."""
    unknown = [] if evidence.knows_task or evidence.running is not None else [NO_TASK]
    evidence = among_themselves(evidence)
    return [
        *_interfaces(evidence),
        *_listening(evidence),
        *_advertised(evidence),
        *_multicast(evidence),
        *(_unreached(probe, evidence.timeout_s) for probe in evidence.unresolved),
        *(finding for probe in evidence.peers for finding in _peer(evidence, probe)),
        *one_way_elsewhere(evidence),
        *company(evidence),
        *unknown,
    ]


def _interfaces(evidence: Evidence) -> Iterator[Finding]:
    outward = [one for one in evidence.local if one.nature != "loopback"]
    if not outward:
        found = f"only {listed(map(str, evidence.local)) or 'nothing'}"
        if is_loopback(evidence.listen_host):
            yield Finding(Level.OK, "interfaces", f"{found}, enough for agents on this machine")
        else:
            remedy = "connect a cable or Wi-Fi; --listen 127.0.0.1:0 is for agents on this machine"
            yield Finding(Level.PROBLEM, "no network", found, remedy)
        return
    named: dict[str, list[str]] = {}
    for one in outward:
        named.setdefault(one.interface, []).append(str(one))
    shown = [f"{name} {' '.join(addresses)}" for name, addresses in named.items()]
    yield Finding(Level.OK, "interfaces", listed(shown))


def _listening(evidence: Evidence) -> Iterator[Finding]:
    running = evidence.running
    if evidence.listen_error:
        remedy = "end what listens there, or choose another --listen HOST:PORT"
        yield Finding(Level.PROBLEM, "cannot listen", evidence.listen_error, remedy)
    elif running is None:
        yield Finding(Level.OK, "port", f"{evidence.listen_host} can be listened on")
        yield _running_elsewhere(evidence)
    else:
        at = f"{running.record.peer} of swarm {running.record.swarm!r} answers at --listen"
        reason = incompatibility(evidence.own, running.record)
        if reason is None:
            yield Finding(Level.OK, "agent runs here", at)
        else:
            what, remedy = why_apart(reason, evidence.own, running.record)
            yield Finding(Level.PROBLEM, "agent here differs", f"{at}: {what}", remedy)
    if is_loopback(evidence.listen_host):
        remedy = "--listen 0.0.0.0:PORT lets others in"
        yield Finding(Level.NOTE, "this machine only", f"listens on {evidence.listen_host}", remedy)
    elif not evidence.own.keys:
        remedy = "make one with `hyperpush keys new-swarm`, give it with --key, or stay in a trusted network"
        yield Finding(Level.NOTE, "no key", "whoever reaches the port can take part", remedy)


def _running_elsewhere(evidence: Evidence) -> Finding:
    """Agents of this machine at other ports than that of --listen."""
    here = {
        probe.answer.record.peer: f"{probe.answer.record.peer} at {probe.address}"
        for probe in evidence.peers
        if probe.answer is not None
        and probe.reached is Reached.ANSWERED
        and _is_here(evidence, probe.address)
    }
    if here:
        return Finding(Level.OK, "agent runs here", f"{listed(here.values())}, on this machine")
    remedy = "if one runs here, give where it listens, with --listen HOST:PORT or --peer HOST:PORT"
    return Finding(Level.NOTE, "no agent here", "no running agent of this machine was looked at", remedy)


def _advertised(evidence: Evidence) -> Iterator[Finding]:
    probe = evidence.advertised
    if probe is None:
        return
    ip = _ip(probe.address)
    here = next((one for one in evidence.local if one.ip == ip), None)
    yield from _kind_of_address(evidence, probe, ip, here)
    if probe.is_self:
        yield Finding(Level.OK, "own address", f"{probe.address}, which others are told, leads here")
        return
    if probe.reached in (Reached.ANSWERED, Reached.NO_AGENT):
        said = f"{probe.address}, which others are told, leads to another program"
        remedy = "give this machine's own address with --advertise, or forward that port to it"
        yield Finding(Level.PROBLEM, "own address", said, remedy)
        return
    what, _ = DIALLED[probe.reached]
    said = f"{probe.address}, which others are told, {what} from here{_because(probe.detail)}"
    if here is not None:
        remedy = "a firewall on this machine stops it: allow incoming TCP to that port"
    elif probe.reached is Reached.SILENT:
        remedy = "some routers lead nobody back in; try from outside, and forward that port to this machine"
        yield Finding(Level.NOTE, "own address", said, remedy)
        return
    else:
        remedy = "it is no address of this machine: forward that port to it, or correct --advertise"
    yield Finding(Level.PROBLEM, "own address", said, remedy)


def _kind_of_address(
    evidence: Evidence, probe: Probe, ip: IpAddress | None, here: LocalAddress | None
) -> Iterator[Finding]:
    """Addresses that mean another thing elsewhere."""
    outside = "give an address that others can reach with --advertise"
    if ip is None:
        return
    if ip.is_loopback and not is_loopback(evidence.listen_host):
        said = f"others are told {probe.address}, which leads them to themselves"
        yield Finding(Level.PROBLEM, "own address", said, outside)
    elif here is not None and here.nature == "bridge":
        said = f"others are told {probe.address}, on {here.interface}, a bridge of containers"
        yield Finding(Level.PROBLEM, "container bridge", said, outside)
    elif here is not None and here.nature == "vpn":
        said = f"others are told {probe.address}, on {here.interface}"
        yield Finding(Level.NOTE, "vpn", said, f"right if all are in that VPN; else {outside}")
    elif ip in DOCKER_BRIDGE:
        said = f"others are told {probe.address}, in Docker's own network"
        remedy = "start the container with --network host, or publish the port and give the host's address"
        yield Finding(
            Level.PROBLEM, "container", f"{said}: only this host reaches it", f"{remedy} with --advertise"
        )
    elif not ip.is_global and any(_is_global(one.address) for one in evidence.peers):
        said = f"others are told {probe.address}, which leads nowhere outside this network"
        remedy = (
            "they can still push into connections that this agent opens; else forward a port, --advertise it"
        )
        yield Finding(Level.NOTE, "behind NAT", said, remedy)


def _multicast(evidence: Evidence) -> Iterator[Finding]:
    seen = evidence.multicast
    named = bool([probe for probe in evidence.peers if probe.source != ZEROCONF])
    if seen is None:
        yield Finding(Level.NOTE, "multicast", "not tried: --no-zeroconf", "name others with --peer or --dns")
    elif seen.error or not seen.own:
        what = seen.error or f"no own question came back in {evidence.timeout_s:g} s"
        level = Level.NOTE if named else Level.PROBLEM
        remedy = "allow UDP port 5353 in the firewall, or name others with --peer or --dns"
        yield Finding(level, "multicast fails", what, remedy)
    else:
        yield from _multicast_of_others(evidence, seen, alone=is_loopback(evidence.listen_host))


def _multicast_of_others(evidence: Evidence, seen: Multicast, *, alone: bool) -> Iterator[Finding]:
    back = f"own questions came back on {listed(seen.own)}"
    mute = [str(one.ip) for one in evidence.local if one.ip.version == 4 and one.nature == "card"]
    mute = [ip for ip in mute if ip not in seen.own and not alone]
    if mute:
        remedy = "allow UDP port 5353 on it, or name others with --peer or --dns"
        yield Finding(Level.NOTE, "multicast", f"{back}, not on {listed(mute)}", remedy)
    if seen.others:
        yield Finding(Level.OK, "multicast", f"{back}; {listed(seen.others)} heard")
    elif alone:
        yield Finding(Level.OK, "multicast", f"{back}: agents on this machine find each other")
    else:
        remedy = "if others are there, Wi-Fi isolation, a switch or a bridge stops it: use --peer or --dns"
        yield Finding(Level.NOTE, "multicast", f"{back}, but no other machine was heard", remedy)


def _peer(evidence: Evidence, probe: Probe) -> Iterator[Finding]:
    if probe.is_self:
        yield Finding(Level.OK, probe.source, f"{probe.address} is this agent itself")
        return
    if probe.answer is None:
        yield _unreached(probe, evidence.timeout_s)
        return
    own = evidence.own if evidence.running is None else evidence.running.record
    record = probe.answer.record
    said = f"{record.peer} at {probe.address}"
    reason = incompatibility(own, record)
    if reason is not None:
        what, remedy = why_apart(reason, own, record)
        neighbour = reason is RejectReason.WRONG_SWARM and probe.source == ZEROCONF
        level = Level.NOTE if neighbour else Level.PROBLEM
        yield Finding(level, f"{probe.source}: {reason.value.replace('_', ' ')}", f"{said} {what}", remedy)
    elif probe.reached is Reached.ANSWERED:
        yield Finding(Level.OK, probe.source, f"{said} answers and fits")
        yield from one_way(evidence, probe)
    else:
        yield _unreached(probe, evidence.timeout_s)
    if probe.clock_ahead_s is not None and abs(probe.clock_ahead_s) > CLOCK_AHEAD_S_MAX:
        direction = "ahead" if probe.clock_ahead_s > 0 else "behind"
        what = f"{said} is {abs(probe.clock_ahead_s):.0f} s {direction}"
        yield Finding(Level.NOTE, "clocks differ", what, "set both by NTP: certificates and logs need it")


def _unreached(probe: Probe, timeout_s: float) -> Finding:
    """An address that leads to no agent."""
    what, remedy = DIALLED[probe.reached]
    who = probe.address if probe.answer is None else f"{probe.answer.record.peer} at {probe.address}"
    waited = f" within {timeout_s:g} s" if probe.reached is Reached.SILENT else ""
    evidence = f"{who} {what}{waited}{_because(probe.detail)}"
    return Finding(Level.PROBLEM, f"{probe.source}: {probe.reached}", evidence, remedy)


def _because(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _ip(address: str) -> IpAddress | None:
    """The host of "host:port", if it is no name."""
    try:
        return ipaddress.ip_address(parse_address(address)[0].partition("%")[0])
    except ValueError:
        return None


def _is_here(evidence: Evidence, address: str) -> bool:
    """Whether an address is one of this machine."""
    ip = _ip(address)
    return is_loopback(parse_address(address)[0]) or any(one.ip == ip for one in evidence.local)


def _is_global(address: str) -> bool:
    ip = _ip(address)
    return ip is not None and ip.is_global
