"""Which addresses are announced, and which are dialled first."""

import ipaddress
import socket

import pytest

from wire.addresses import (
    ANNOUNCED_MAX,
    LocalAddress,
    announceable,
    host_is_loopback,
    in_order_of_dialling,
    is_loopback,
    multicast_interfaces,
)
from wire.interfaces import local_addresses, outward_host


def at(interface: str, index: int, address: str) -> LocalAddress:
    found = ipaddress.ip_interface(address)
    return LocalAddress(interface, index, found.ip, found.network.prefixlen)


LAPTOP = (
    at("lo", 1, "127.0.0.1/8"),
    at("lo", 1, "::1/128"),
    at("docker0", 2, "172.17.0.1/16"),
    at("wg0", 3, "10.9.0.2/24"),
    at("eth0", 4, "192.168.1.7/24"),
    at("eth0", 4, "fe80::7/64"),
    at("eth0", 4, "2001:db8::7/64"),
    at("wlan0", 5, "192.168.2.7/24"),
)


@pytest.mark.parametrize(
    ("interface", "nature"),
    [
        *((name, "card") for name in ("eth0", "enp3s0", "wlan0", "en0", "bridge0", "Ethernet 2")),
        *((name, "bridge") for name in ("docker0", "br-1f2e3d", "veth12ab", "virbr0", "cni0", "vEthernet")),
        *((name, "vpn") for name in ("tun0", "wg0", "tailscale0", "utun3", "ppp0", "zt5u4uutha")),
    ],
)
def test_the_nature_of_an_interface_shows_in_its_name(interface: str, nature: str) -> None:
    assert at(interface, 1, "10.0.0.1/8").nature == nature
    assert at(interface, 1, "127.0.0.1/8").nature == "loopback"


def test_all_addresses_that_leave_the_machine_are_announced_cards_first() -> None:
    assert announceable(LAPTOP, 4, "") == ["192.168.1.7", "192.168.2.7", "10.9.0.2", "172.17.0.1"]
    assert announceable(LAPTOP, 4, "192.168.2.7")[:2] == ["192.168.2.7", "192.168.1.7"]
    assert announceable(LAPTOP, 6, "") == ["2001:db8::7", "fe80::7"]
    assert announceable(LAPTOP[:2], 4, "127.0.0.1") == []
    many = [at("eth0", 1, f"10.0.0.{number}/24") for number in range(1, 99)]
    assert len(announceable(many, 4, "")) == ANNOUNCED_MAX


def test_multicast_is_spoken_on_every_address_and_card() -> None:
    assert multicast_interfaces(LAPTOP) == [
        *("127.0.0.1", "172.17.0.1", "10.9.0.2", "192.168.1.7", "192.168.2.7"),
        4,
    ]


def test_the_likeliest_address_is_dialled_first() -> None:
    """The bridge of the peer's containers has the address of ours: dialled, this machine would answer."""
    announced = [
        *("172.17.0.1", "fe80::9%4", "172.17.0.4", "198.51.100.9", "127.0.0.1", "2001:db8::9"),
        *("192.168.1.9", "192.168.1.9"),
    ]
    assert in_order_of_dialling(announced, LAPTOP) == [
        *("192.168.1.9", "2001:db8::9", "198.51.100.9", "172.17.0.4", "fe80::9%4"),
        *("172.17.0.1", "127.0.0.1"),
    ]
    assert in_order_of_dialling(["192.168.1.7"], LAPTOP) == ["192.168.1.7"], "a peer on this machine"


def test_this_machine_has_a_loopback_interface() -> None:
    found = local_addresses()
    assert any(str(one) == "127.0.0.1/8" and one.nature == "loopback" for one in found)
    assert found == local_addresses()


def test_without_a_route_to_elsewhere_others_are_told_the_address_of_a_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A switch with a few machines and no router."""

    class Lonely(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.socket", Lonely)
    monkeypatch.setattr("wire.interfaces.local_addresses", lambda: LAPTOP)
    assert outward_host("192.0.2.7") == "192.0.2.7"
    assert outward_host("0.0.0.0") == "192.168.1.7"  # noqa: S104  (nothing is bound)
    assert outward_host("::") == "2001:db8::7"
    monkeypatch.setattr("wire.interfaces.local_addresses", lambda: LAPTOP[:2])
    assert outward_host("0.0.0.0") == "127.0.0.1"  # noqa: S104
    assert outward_host("::") == "::1"


def test_with_a_route_others_are_told_where_packets_come_from() -> None:
    assert outward_host("0.0.0.0") in [str(one.ip) for one in local_addresses()]  # noqa: S104


def test_which_names_are_this_machine() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost"):
        assert is_loopback(host)
        assert host_is_loopback(f"[{host}]:80" if ":" in host else f"{host}:80")
        assert host_is_loopback(f"[{host}]" if ":" in host else host)
    for header in (
        None,
        "",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "10.0.0.1",
        "[::2]:80",
        "[",
        ":",
    ):
        assert not host_is_loopback(header)
    assert not is_loopback("::")
