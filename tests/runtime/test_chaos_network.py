"""Networks of `hyperpush chaos`: what a router drops, and that nothing of them stays."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peer.chaos.machine import PREFIX
from peer.chaos.network import Network, remove_stale

if TYPE_CHECKING:
    from collections.abc import Iterator

RECEIVE = """
import socket
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.bind(("", 9999))
print("listens", flush=True)
while True:
    print(receiver.recv(100).decode(), flush=True)
"""
SEND = """
import socket, sys
socket.socket(type=socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 9999))
"""


def namespaces() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"{PREFIX}{os.getpid()}-*")]


@contextmanager
def network(processes: int) -> Iterator[Network]:
    try:
        found = Network(processes)
    except OSError as error:
        pytest.skip(f"network namespaces are not permitted: {error}")
    try:
        yield found
    finally:
        found.close()
    assert not namespaces()


def test_a_cut_is_one_way_and_can_be_mended() -> None:
    with network(2) as between:
        receivers = [
            subprocess.Popen(
                [*between.inside(process), sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE, text=True
            )
            for process in (0, 1)
        ]

        def received(process: int) -> str:
            stdout = receivers[process].stdout
            assert stdout is not None
            return stdout.readline().strip()

        def send(source: int, text: str) -> None:
            address = between.address(1 - source)
            command = [*between.inside(source), sys.executable, "-c", SEND, address, text]
            subprocess.run(command, check=True)

        try:
            assert [received(process) for process in (0, 1)] == ["listens", "listens"]
            between.cut([(0, 1)])
            between.cut([(0, 1)])  # of two troubles at a time
            send(0, "lost")
            send(1, "this way is open")
            assert received(0) == "this way is open"
            between.mend([(0, 1)])
            send(0, "lost, too")
            between.mend([(0, 1)])
            send(0, "open again")
            assert received(1) == "open again"
        finally:
            for receiver in receivers:
                receiver.kill()
                receiver.communicate()


def test_networks_of_runs_that_are_not_over_stay() -> None:
    with network(1):
        remove_stale()
        assert len(namespaces()) == 2, "this run is not over"


def test_without_root_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(OSError, match="network namespaces need root and iproute2"):
        Network(2)
    assert not namespaces()
