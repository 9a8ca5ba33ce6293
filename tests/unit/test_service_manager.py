"""What a service manager is told: every datagram, as it arrives at a socket of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from peer.errors import SettingError
from peer.pulse import Pulse
from peer.service_manager import BEATS_PER_WATCHDOG, STATUS_CHARACTERS_MAX, UNWATCHED_S, ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 20.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that a manager would listen on, and its path."""
    path = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(LIMIT_S)
        yield listening, path


def test_it_is_told_when_the_agent_is_ready_and_when_it_ends(manager: tuple[socket.socket, str]) -> None:
    listening, path = manager
    told = ServiceManager.of_environment({"NOTIFY_SOCKET": path}, 7)
    assert told.watchdog_s is None
    assert told.beat_s == UNWATCHED_S
    told.ready("listens on\nREADY=0 here")
    assert listening.recv(1000) == b"READY=1\nSTATUS=listens on READY=0 here", "one line, whatever it holds"
    told.stopping()
    assert listening.recv(1000) == b"STOPPING=1"
    told.ready("x" * 10_000)
    assert len(listening.recv(20_000)) == len("READY=1\nSTATUS=") + STATUS_CHARACTERS_MAX


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_a_socket_may_have_no_path(tmp_path: Path) -> None:
    name = f"hyperpush-test{tmp_path}"  # one of its own, whoever tests beside us
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(LIMIT_S)
        ServiceManager.of_environment({"NOTIFY_SOCKET": f"@{name}"}, 7).stopping()
        assert listening.recv(1000) == b"STOPPING=1"


def test_without_a_manager_nothing_is_said() -> None:
    said: list[str] = []
    nobody = ServiceManager.of_environment({}, 7, say=said.append)
    nobody.ready("listens")
    nobody.stopping()
    assert said == []


def test_a_manager_that_has_gone_is_told_of_once_and_again_after_it_was_there(tmp_path: Path) -> None:
    said: list[str] = []
    path = str(tmp_path / "n")
    told = ServiceManager(path, say=said.append)
    told.ready("listens")
    told.stopping()
    assert said == [f"the service manager at {path} cannot be told: No such file or directory"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        told.ready("listens")
    told.stopping()  # the file is there, and nobody listens
    assert len(said) == 2
    assert "Connection refused" in said[1]
    ServiceManager(path).stopping()  # nobody wants to know


@pytest.mark.parametrize("pid", [{}, {"WATCHDOG_PID": "7"}])
def test_the_watchdog_of_this_process_counts(pid: dict[str, str]) -> None:
    told = ServiceManager.of_environment({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", **pid}, 7)
    assert told.watchdog_s == 3.0
    assert told.beat_s == 3.0 / BEATS_PER_WATCHDOG


def test_that_of_another_process_does_not() -> None:
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}
    assert ServiceManager.of_environment(environment, 7).watchdog_s is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("NOTIFY_SOCKET", value) for value in ("vsock:2:1", "run/n", "/", "@")),
        *(("WATCHDOG_USEC", value) for value in ("0", "-1", "1.5", "soon", "٣")),
    ],
)
def test_what_nobody_can_mean_is_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{variable}: .* is not possible; give .* leave it out$"):
        ServiceManager.of_environment({variable: value}, 7)


async def test_the_watchdog_hears_nothing_while_the_agent_stands_still(
    manager: tuple[socket.socket, str],
) -> None:
    """The status goes on, so that people see why it was ended."""
    listening, path = manager
    listening.setblocking(False)
    looks = iter([(True, "tick 1"), (False, "tick 1; has not gone on"), (True, "tick 2")])
    told = ServiceManager(path, 0.02)
    beating = asyncio.create_task(told.beat(lambda: next(looks, (False, "over"))))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT_S):
        heard = [await loop.sock_recv(listening, 1000) for _ in range(4)]
    assert heard == [
        b"WATCHDOG=1\nSTATUS=tick 1",
        b"STATUS=tick 1; has not gone on",
        b"WATCHDOG=1\nSTATUS=tick 2",
        b"STATUS=over",
    ]
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating


async def test_without_a_watchdog_none_is_kept_quiet(manager: tuple[socket.socket, str]) -> None:
    listening, path = manager
    listening.setblocking(False)
    beating = asyncio.create_task(ServiceManager(path).beat(lambda: (True, "tick 1")))
    async with asyncio.timeout(LIMIT_S):
        assert await asyncio.get_running_loop().sock_recv(listening, 1000) == b"STATUS=tick 1"
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating


def test_a_pulse_is_still_from_when_it_was_seen_so() -> None:
    pulse = Pulse()
    assert pulse.still_s(("tick", 1), 100.0) == 0.0
    assert pulse.still_s(("tick", 1), 103.0) == 3.0
    assert pulse.still_s(("tick", 2), 104.0) == 0.0
    assert pulse.still_s(("tick", 2), 104.5) == 0.5
    assert pulse.still_s(None, 105.0) == 0.0
