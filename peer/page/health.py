"""Whether agents work, and whether they learn with others: what supervisors ask. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from peer.phase import Phase
from peer.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.status import AgentStatus

STALLED_S: Final = 120.0  # without a tick, and without a reason: a worker hangs


class Health:
    """Looks at agents again and again; one that has not gone on for STALLED_S and more does not work."""

    def __init__(self) -> None:
        self._pulses: dict[str, Pulse] = {}  # by agent
        self._still_s: dict[str, float] = {}

    def look(self, at_s: float, marks: Mapping[str, object]) -> None:
        """These agents are there; a mark changes whenever its agent goes on; None while it need not."""
        self._pulses = {peer: self._pulses.get(peer) or Pulse() for peer in marks}
        self._still_s = {}
        for peer, mark in marks.items():
            still_s = self._pulses[peer].still_s(mark, at_s)
            self._still_s[peer] = 0.0 if mark is None else still_s

    def problems(self) -> list[str]:
        """Of each that does not work, in words that name nobody: strangers may ask."""
        return [
            f"an agent has not gone on for {math.floor(still_s)} s"
            for still_s in self._still_s.values()
            if still_s >= STALLED_S
        ]


class Silence:
    """Of processes that are asked for the problems of their agents, and may answer nothing."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by number: the first question without an answer
        self._asked_at = -math.inf

    def problems(self, at_s: float, answers: Sequence[Sequence[str] | None]) -> list[str]:
        """Of each process' agents; those of one that is silent do not work after STALLED_S.

        Until then it may be one that is begun anew. Whoever asks has to ask more often than that.
        """
        if at_s - self._asked_at >= STALLED_S:
            self._since.clear()  # nobody knows what has been between
        self._asked_at = at_s
        found: list[str] = []
        for number, answer in enumerate(answers):
            if answer is not None:
                self._since.pop(number, None)
                found += answer
                continue
            silent_s = at_s - self._since.setdefault(number, at_s)
            if silent_s >= STALLED_S:
                found.append(f"a process of agents has not answered for {math.floor(silent_s)} s")
        return found


def not_ready(statuses: Sequence[AgentStatus], absent: Sequence[str]) -> list[str]:
    """Why these agents do not learn with all others yet, naming nobody: strangers may ask. Empty if they do.

    Who knows of nobody else learns alone, and is ready: there may be nobody.
    """
    found = ["an agent is not there" for _ in absent]
    for status in statuses:
        able = [link for link in status.links if link.incompatible is None and not link.left]
        if status.phase != Phase.RUNNING.value:
            found.append(f"an agent is {status.phase}")
        elif able and not any(link.hears for link in able):
            found.append("an agent hears nobody")
    return found
