"""Addresses of network interfaces as values: which to announce, in which order to dial those of others.

A machine has several cards, IPv4 and IPv6 addresses, and bridges of containers whose addresses mean another
thing on every machine. Nobody can know from outside which of them leads there; so all are announced, and who
dials tries the likely ones first.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Nature = Literal["loopback", "card", "bridge", "vpn"]

WILDCARDS: Final = {"0.0.0.0": 4, "::": 6}  # noqa: S104  (names them, binds nothing)
ANNOUNCED_MAX: Final = 9  # in one announcement: PeerRecord.address and its alternatives

# Container engines and virtual machines; tunnels.
_BRIDGE = re.compile(r"(docker|br-|veth|virbr|vmnet|vboxnet|lxc|lxd|cni|flannel|cali|podman|kube|vEthernet)")
_VPN = re.compile(r"(tun|tap|wg|tailscale|ts|zt|ppp|utun|ipsec|nordlynx)[0-9a-z]*$")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of one interface of this machine."""

    interface: str  # its name, such as eth0
    index: int  # its number here: the scope of link-local addresses
    ip: IpAddress  # without scope
    prefix: int  # bits of the subnet

    @property
    def nature(self) -> Nature:
        """What kind of interface this is, by its name."""
        if self.ip.is_loopback:
            return "loopback"
        if _BRIDGE.match(self.interface):
            return "bridge"
        return "vpn" if _VPN.match(self.interface) else "card"

    def near(self, ip: IpAddress) -> bool:
        """Whether `ip` is in the same subnet."""
        return ip in ipaddress.ip_network((self.ip, self.prefix), strict=False)

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


def is_loopback(host: str) -> bool:
    """True for the names and addresses of this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_is_loopback(header: str | None) -> bool:
    """True if a Host header means this machine itself.

    A web page whose name is made to point here (DNS rebinding) sends its own name, and must learn nothing.
    """
    host = header or ""
    if host.startswith("["):
        return is_loopback(host[1:].partition("]")[0])
    return is_loopback(host.partition(":")[0])


def announceable(local: Sequence[LocalAddress], version: int, preferred: str) -> list[str]:
    """The addresses of this machine to announce, those of cards first, at most ANNOUNCED_MAX.

    `version`: 4 or 6, of the wildcard that is listened on. `preferred` is first if it is still one of them.
    What is known on this machine only is left out.
    """
    ranks = {"card": 0, "vpn": 1, "bridge": 2}
    found = [one for one in local if one.ip.version == version and one.nature in ranks]
    found.sort(key=lambda one: (str(one.ip) != preferred, ranks[one.nature], one.ip.is_link_local))
    return [str(one.ip) for one in found][:ANNOUNCED_MAX]


def multicast_interfaces(local: Sequence[LocalAddress]) -> list[str | int]:
    """What to speak multicast on: every IPv4 address, and every interface with IPv6 that leaves the machine.

    The loopback interface is for agents of one machine that has no other.
    """
    four = [str(one.ip) for one in local if one.ip.version == 4]
    six = [one.index for one in local if one.ip.version == 6 and not one.ip.is_loopback]
    return [*dict.fromkeys(four), *dict.fromkeys(six)]


def in_order_of_dialling(announced: Sequence[str], local: Sequence[LocalAddress]) -> list[str]:
    """What a peer announced, the likeliest to lead there first; IPv6 may have a scope ("fe80::1%2").

    Same subnet as one of our cards; elsewhere; subnet of a tunnel or bridge; link-local; and last addresses
    that this machine has too: they lead here, unless the peer is here and has no others. IPv4 before IPv6.
    """

    def rank(text: str) -> tuple[int, int]:
        ip = ipaddress.ip_address(text.partition("%")[0])
        near = [one for one in local if one.near(ip)]
        if ip.is_loopback or any(one.ip == ip for one in local):
            return 4, ip.version
        if ip.is_link_local:
            return 3, ip.version
        if any(one.nature == "card" for one in near):
            return 0, ip.version
        return (2 if near else 1), ip.version

    return sorted(dict.fromkeys(announced), key=rank)
