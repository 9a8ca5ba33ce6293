"""Tells whoever supervises this process how it is: the datagrams of systemd's `sd_notify`. An edge: a socket.

Where no manager has asked to be told (no NOTIFY_SOCKET in the environment) nothing is sent, and nobody has to
ask whether there is one. What cannot be sent is told to people, once, and never waited for.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, Self

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNWATCHED_S: Final = 30.0  # from one status to the next where there is no watchdog
BEATS_PER_WATCHDOG: Final = 2.0  # so that one which is late costs nothing
STATUS_CHARACTERS_MAX: Final = 500  # a line for people


class ServiceManager:
    """The manager that listens at `address`, a path or, for the abstract ones of Linux, "@" and a name.

    "" is nobody. `watchdog_s`: it ends the process if it does not hear for so long that all is well; None if
    it does not care.
    """

    def __init__(
        self, address: str = "", watchdog_s: float | None = None, *, say: Callable[[str], None] | None = None
    ) -> None:
        self.watchdog_s: Final = watchdog_s
        self._address = address
        self._say = say
        self._told = ""  # the last problem

    @classmethod
    def of_environment(
        cls, environment: Mapping[str, str], process: int, *, say: Callable[[str], None] | None = None
    ) -> Self:
        """The manager of this process, by its number. Raises `SettingError` for what nobody can mean."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address and (address[0] not in "/@" or len(address) == 1):
            raise SettingError("NOTIFY_SOCKET", address, "give a path from /, or @NAME, or leave it out")
        given = environment.get("WATCHDOG_USEC", "")
        if not given or environment.get("WATCHDOG_PID", str(process)) != str(process):
            return cls(address, say=say)
        if not (given.isascii() and given.isdigit() and int(given)):
            raise SettingError("WATCHDOG_USEC", given, "give microseconds, 1 or more, or leave it out")
        return cls(address, int(given) / 1e6, say=say)

    @property
    def is_there(self) -> bool:
        """Whether anybody has asked to be told."""
        return bool(self._address)

    @property
    def beat_s(self) -> float:
        """From one beat to the next, and the longest that all may stand still and count as well."""
        return UNWATCHED_S if self.watchdog_s is None else self.watchdog_s / BEATS_PER_WATCHDOG

    def ready(self, status: str) -> None:
        """Whatever waited for this process need wait no longer; `status` is for people."""
        self._send("READY=1", _status(status))

    def stopping(self) -> None:
        """The process is about to end, by itself or because it was asked to."""
        self._send("STOPPING=1")

    async def beat(self, look: Callable[[], tuple[bool, str]]) -> None:
        """For ever: tell how it is, and keep the watchdog quiet while all is well.

        `look` says whether all is well and, for people, how it is.
        """
        while True:
            is_well, status = look()
            watchdog = ["WATCHDOG=1"] if is_well and self.watchdog_s is not None else []
            self._send(*watchdog, _status(status))
            await asyncio.sleep(self.beat_s)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        where = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.setblocking(False)
                manager.sendto("\n".join(lines).encode(), where)
            self._told = ""
        except OSError as error:
            problem = f"the service manager at {self._address} cannot be told: {error.strerror or error}"
            if problem != self._told and self._say is not None:
                self._say(problem)
            self._told = problem


def _status(text: str) -> str:
    """As one line: what follows a line break would be read as another message."""
    return f"STATUS={' '.join(text.split())[:STATUS_CHARACTERS_MAX]}"
