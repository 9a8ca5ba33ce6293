"""The network interfaces of this machine, as they are now. An edge: asks the operating system."""

import ipaddress
import socket

import ifaddr

from wire.addresses import WILDCARDS, LocalAddress, announceable


def local_addresses() -> tuple[LocalAddress, ...]:
    """All addresses of all interfaces, in an order that stays while nothing changes. Takes microseconds."""
    found = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            ip = ipaddress.ip_address(text.partition("%")[0])
            found.append(LocalAddress(adapter.name, adapter.index or 0, ip, one.network_prefix))
    return tuple(sorted(found, key=lambda one: (one.index, one.ip.version, one.ip.packed)))


def outward_host(listen_host: str) -> str:
    """`listen_host`, or for a wildcard the address to tell others. Sends nothing.

    That is the one which packets to elsewhere would carry; without a route to elsewhere, that of a card;
    without a card, loopback.
    """
    version = WILDCARDS.get(listen_host)
    if version is None:
        return listen_host
    six = version == 6
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if six else "192.0.2.1", 9))  # reserved for documentation
        except OSError:
            return next(iter(announceable(local_addresses(), version, "")), "::1" if six else "127.0.0.1")
        return str(probe.getsockname()[0])
