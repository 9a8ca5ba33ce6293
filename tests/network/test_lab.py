"""The laboratory itself: what it cuts is cut, in that direction only, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.network.lab import Lab, address, namespaces, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP, PORT = "224.0.0.251", 5353  # where agents find each other
LIMIT_S = 10.0


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(3) as made:
        yield made


def listening(lab: Lab, host: int, kind: socket.SocketKind, port: int) -> socket.socket:
    def listen() -> socket.socket:
        here = socket.socket(socket.AF_INET, kind)
        here.bind(("", port))
        if kind == socket.SOCK_STREAM:
            here.listen()
        else:
            membership = socket.inet_aton(GROUP) + socket.inet_aton(address(host))
            here.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        here.settimeout(LIMIT_S)
        return here

    return lab.inside(host, listen)


def datagrams(lab: Lab, source: int, target: str, *texts: bytes) -> None:
    with lab.inside(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as here:
        for text in texts:
            here.sendto(text, (target, PORT))


def dialled(lab: Lab, source: int, target: int, timeout_s: float = LIMIT_S) -> bool:
    with lab.inside(source, socket.socket) as here:
        here.settimeout(timeout_s)
        try:
            here.connect((address(target), PORT))
        except TimeoutError:
            return False
        return True


def test_multicast_reaches_every_other_host_and_tcp_connects(lab: Lab) -> None:
    with listening(lab, 1, socket.SOCK_DGRAM, PORT) as one, listening(lab, 2, socket.SOCK_DGRAM, PORT) as two:
        datagrams(lab, 0, GROUP, b"who is there?")
        assert one.recvfrom(100) == two.recvfrom(100)
    with listening(lab, 1, socket.SOCK_STREAM, PORT):
        assert dialled(lab, 0, 1)
        assert dialled(lab, 2, 1)


def test_a_cut_is_one_way_and_heals(lab: Lab) -> None:
    with listening(lab, 0, socket.SOCK_DGRAM, PORT) as one, listening(lab, 1, socket.SOCK_DGRAM, PORT) as two:
        datagrams(lab, 0, address(1), b"addresses are resolved")
        assert two.recv(100) == b"addresses are resolved"
        lab.cut(0, 1)
        datagrams(lab, 0, address(1), b"lost")
        datagrams(lab, 1, address(0), b"the other way")
        assert one.recv(100) == b"the other way"
        wait_until(lambda: lab.count("cut", 0, 1), "the frame is counted", LIMIT_S)
        lab.heal(0, 1)
        datagrams(lab, 0, address(1), b"healed")
        assert two.recv(100) == b"healed"
    assert lab.count("cut") == lab.count("cut", 0, 1)


def test_a_partition_cuts_between_the_groups_only(lab: Lab) -> None:
    with listening(lab, 0, socket.SOCK_STREAM, PORT), listening(lab, 2, socket.SOCK_STREAM, PORT):
        lab.partition([0, 1], [2])
        assert dialled(lab, 1, 0)
        assert not dialled(lab, 1, 2, timeout_s=0.3)
        assert not dialled(lab, 2, 0, timeout_s=0.3)
        lab.partition()
        assert dialled(lab, 1, 2)


def test_a_host_behind_a_firewall_dials_and_is_not_dialled(lab: Lab) -> None:
    with listening(lab, 0, socket.SOCK_STREAM, PORT), listening(lab, 1, socket.SOCK_STREAM, PORT):
        lab.firewall(0)
        assert dialled(lab, 0, 1)
        assert not dialled(lab, 1, 0, timeout_s=0.3)
        assert lab.count("refused") == lab.count("refused", 1, 0) > 0
        lab.firewall(0, closed=False)
        assert dialled(lab, 1, 0)


def test_a_host_gets_another_address(lab: Lab) -> None:
    with listening(lab, 0, socket.SOCK_DGRAM, PORT) as target:
        lab.readdress(1, "10.77.0.99")
        datagrams(lab, 1, address(0), b"from where?")
        assert target.recvfrom(100)[1][0] == "10.77.0.99"


def test_links_delay_and_lose(lab: Lab) -> None:
    numbers = [struct.pack("!H", number) for number in range(200)]
    arrived: list[bytes] = []
    with listening(lab, 1, socket.SOCK_DGRAM, PORT) as target:
        datagrams(lab, 0, address(1), b"who are you?")  # whom the kernel asks for a second, if that is lost
        assert target.recv(100)
        lab.shape(loss=0.2, delay_s=0.02, jitter_s=0.01)
        target.settimeout(3.0)
        with contextlib.suppress(TimeoutError):
            datagrams(lab, 0, address(1), *numbers)
            while True:
                arrived.append(target.recv(100))
    assert 120 < len(arrived) < 190
    assert lab.count("lost", 0, 1) >= 200 - len(arrived)
    assert set(arrived) < set(numbers)
    assert arrived != sorted(arrived), "jitter lets some overtake others"
    with listening(lab, 2, socket.SOCK_STREAM, PORT):
        lab.shape(delay_s=0.2)
        assert not dialled(lab, 0, 2, timeout_s=0.3), "there and back takes 0.4 s"
        assert dialled(lab, 0, 2)


def test_processes_run_on_their_host_and_end_with_the_laboratory(tmp_path: Path) -> None:
    with Lab(1) as lab:
        show = lab.start(0, "ip", "-o", "-4", "address", log=tmp_path / "show")
        assert f"lan0    inet {address(0)}/24" in show.wait_for("lan0", LIMIT_S)
        forever = lab.start(0, "tail", "-f", "/dev/null", log=tmp_path / "forever")
        assert forever.ended() is None
        mine = [name for name in namespaces() if name.startswith(f"hyperpush-{os.getpid()}-")]
        assert mine
    assert forever.ended() == -9
    assert not set(mine) & set(namespaces())


def test_what_a_killed_laboratory_left_is_removed(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from tests.network.lab import Lab; lab = Lab(1);"
        "lab.start(0, 'tail', '-f', '/dev/null', log=pathlib.Path(sys.argv[1]));"
        "print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    left = f"hyperpush-{int(killed.stdout)}-0-0"
    assert left in namespaces()
    listed = subprocess.run(["ip", "netns", "pids", left], capture_output=True, text=True, check=True)  # noqa: S607
    (process,) = listed.stdout.split()
    Lab(1).close()
    assert left not in namespaces()
    wait_until(lambda: not Path("/proc", process).exists(), "its process has ended", LIMIT_S)
