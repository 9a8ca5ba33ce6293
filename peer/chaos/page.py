"""What the page of `hyperpush chaos` asks its worker processes, and what it does to their agents. An edge."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from peer.chaos.plan import Trouble
from peer.page.many import ANSWER_S
from peer.scenario import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.chaos.process import Host
    from peer.scenario import AnyChange


class Questions:
    """What is asked of processes, until they answer."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, process: int, what: str, about: object) -> Any:
        """What this process answers; None if it does not in time."""
        host = self._hosts[process]
        if not host.up.is_set():
            return None
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        host.process.send({"ask": [number, what, about]})
        try:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._waiting[number], ANSWER_S)
        finally:
            del self._waiting[number]
        return None

    def answered(self, number: int, value: object) -> None:
        """A process has; too late is as good as never."""
        if number in self._waiting and not self._waiting[number].done():
            self._waiting[number].set_result(value)


def by_hand(change: AnyChange[str]) -> Trouble:
    """What people ask for on the page, as a trouble of the plan."""
    end_s = change.at_s + getattr(change, "duration_s", 0.0)
    return Trouble(
        "scenario",
        change.at_s,
        end_s,
        agents=(change.agent,),
        change=change,
        text=f"by hand, {told(change)}",
    )
