"""The network interfaces of this machine, as they are now. An edge: asks the operating system."""

import ipaddress

import ifaddr

from wire.addresses import LocalAddress


def local_addresses() -> tuple[LocalAddress, ...]:
    """All addresses of all interfaces, in an order that stays while nothing changes. Takes microseconds."""
    found = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            ip = ipaddress.ip_address(text.partition("%")[0])
            found.append(LocalAddress(adapter.name, adapter.index or 0, ip, one.network_prefix))
    return tuple(sorted(found, key=lambda one: (one.index, one.ip.version, one.ip.packed)))
