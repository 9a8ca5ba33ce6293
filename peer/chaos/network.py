"""A network of its own for every process, and a router between them that can be told to drop. An edge: `ip`.

    10.79.P.2 (process P) ---- veth ---- 10.79.P.1 router 10.79.Q.1 ---- veth ---- 10.79.Q.2 (process Q)

Where packets are dropped nobody is told: connections stall, as they do on a real network, one way or both.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.chaos.machine import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMESPACES: Final = Path("/run/netns")


class Network:
    """One network namespace for each process and one for the router; `close` leaves nothing of it.

    Raises OSError where that is not permitted; nothing is left then either.
    """

    def __init__(self, processes: int) -> None:
        name = f"{PREFIX}{os.getpid()}"
        self._router = f"{name}-router"
        self._hosts = [f"{name}-{process}" for process in range(processes)]
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise OSError("network namespaces need root and iproute2")
        try:
            for space in (self._router, *self._hosts):
                _ip("netns", "add", space)
                _ip("-n", space, "link", "set", "lo", "up")
            for process, host in enumerate(self._hosts):
                cable = f"p{process}"
                _ip(
                    *("-n", self._router, "link", "add", cable, "type", "veth"), "peer", "lan0", "netns", host
                )
                for space, card, number in ((self._router, cable, 1), (host, "lan0", 2)):
                    _ip("-n", space, "addr", "add", f"10.79.{process}.{number}/24", "dev", card)
                    _ip("-n", space, "link", "set", card, "up")
                _ip("-n", host, "route", "add", "default", "via", f"10.79.{process}.1")
            forward = ("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            _ip("netns", "exec", self._router, *forward)
        except BaseException:
            self.close()
            raise

    def address(self, process: int) -> str:
        """Where this process listens."""
        return f"10.79.{process}.2"

    def inside(self, process: int | None) -> tuple[str, ...]:
        """What starts a command on the network of this process; None: at the router."""
        return ("ip", "netns", "exec", self._router if process is None else self._hosts[process])

    def cut(self, links: Iterable[tuple[int, int]]) -> None:
        """From now on nothing passes on these, (source, target)."""
        for source, target in links:
            _ip("-n", self._router, "rule", "add", *self._between(source, target))

    def mend(self, links: Iterable[tuple[int, int]]) -> None:
        """As before, unless they are cut once more."""
        for source, target in links:
            _ip("-n", self._router, "rule", "del", *self._between(source, target))

    def close(self) -> None:
        """Remove all of it."""
        _remove(f"{self._router.removesuffix('-router')}-")

    def _between(self, source: int, target: int) -> tuple[str, ...]:
        return ("from", self.address(source), "to", self.address(target), "blackhole")


def remove_stale() -> None:
    """What runs that were killed have left."""
    for space in _NAMESPACES.glob(f"{PREFIX}*") if _NAMESPACES.exists() else ():
        found = re.match(rf"{PREFIX}(\d+)-", space.name)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            _remove(space.name)


def _remove(prefix: str) -> None:
    for space in sorted(_NAMESPACES.glob(f"{prefix}*")):
        with contextlib.suppress(OSError):  # somebody else has just done it
            _ip("netns", "del", space.name)


def _ip(*arguments: str) -> None:
    """Raises OSError with what `ip` has to say."""
    command = ["ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own words)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
