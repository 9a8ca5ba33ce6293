"""Takes the samples of a soak: of the process, of the agents, of time. An edge."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Protocol

from peer.soak import measures
from peer.soak.census import tables
from peer.soak.measures import Samples, float32_spacing
from peer.soak.process import look

if TYPE_CHECKING:
    from typing import TextIO

HOUR_S, MILLION = 3600.0, 1e6


class Soaked(Protocol):
    """Agents that are soaked, simulated or real."""

    @property
    def agent_ticks(self) -> int:
        """All that were ever made."""

    @property
    def roots(self) -> list[object]:
        """Where all that the agents keep can be reached from."""

    def largest_sum(self) -> float:
        """The largest running sum of this moment."""

    def error(self) -> float:
        """Of the worst agent, relative to the closed form."""


class Meter:
    """Samples `soaked`. Work is counted in hours, or else in million agent-ticks.

    Tables fill until so many agent-ticks are made.

    What sampling itself takes is not counted as the agents' time.
    """

    def __init__(self, soaked: Soaked, record: TextIO | None, *, hours: bool, filling: int) -> None:
        rows = [
            *(measures.MEMORY, measures.BLOCKS, measures.DESCRIPTORS, measures.THREADS),
            *(measures.LARGEST_SUM, measures.SPACING, measures.ERROR, measures.SPEED),
        ]
        self.samples = Samples([*rows, measures.PACE] if hours else rows)
        self._soaked = soaked
        self._record = record
        self._hours = hours
        self._filling = filling
        self._began_at = time.monotonic()
        self._go_on()

    @property
    def agent_ticks(self) -> int:
        """All that were ever made."""
        return self._soaked.agent_ticks

    def take(self) -> None:
        """One sample."""
        soaked, now = self._soaked, time.monotonic()
        ticks = soaked.agent_ticks - self._ticks
        core_s, wall_s = time.process_time() - self._core_s, now - self._wall_s
        hours, millions = (now - self._began_at) / HOUR_S, soaked.agent_ticks / MILLION
        largest = soaked.largest_sum()
        values = {
            **look(),
            measures.LARGEST_SUM.name: largest,
            measures.SPACING.name: float32_spacing(largest),
            measures.ERROR.name: soaked.error(),
            measures.SPEED.name: ticks / core_s,
            measures.PACE.name: ticks / wall_s,
        }
        entries = tables(soaked.roots)
        self.samples.add(hours if self._hours else millions, values, entries)
        if soaked.agent_ticks < self._filling:
            self.samples.filling = len(self.samples.work)
        if self._record is not None:
            sample = {"hours": hours, "million agent-ticks": millions, **values, "tables": dict(entries)}
            self._record.write(json.dumps(sample) + "\n")
            self._record.flush()
        self._go_on()

    def _go_on(self) -> None:
        self._ticks = self._soaked.agent_ticks
        self._core_s, self._wall_s = time.process_time(), time.monotonic()
