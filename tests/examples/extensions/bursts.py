"""A fault model: links that are good for a while, then bad for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire import FaultPlanError, parse_duration

if TYPE_CHECKING:
    import random

    from wire import PeerId


class Bursts:
    """Losses in bursts (Gilbert 1960): a link is bad for BAD on average, and loses all, then good for GOOD.

    `TEXT` is BAD:GOOD, as in bursts:2s:8s. How long each state lasts is exponential, so a link needs to
    remember only in which state it is, and until when.
    """

    def __init__(self, text: str = "2s:8s") -> None:
        bad, colon, good = text.partition(":")
        self._mean_s = parse_duration(good or "0s"), parse_duration(bad)  # good, bad
        if not colon or min(self._mean_s) <= 0:
            raise FaultPlanError(f"bursts = {text!r}: give two times above 0, BAD:GOOD, such as 2s:8s")
        self._text = text
        self._links: dict[tuple[PeerId, PeerId], tuple[bool, float]] = {}  # whether it is bad, and until when

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """At once, or never."""
        bad, until_s = self._links.get((source, target), (True, 0.0))
        while until_s <= elapsed_s:
            bad = not bad
            until_s += rng.expovariate(1.0 / self._mean_s[bad])
        self._links[source, target] = bad, until_s
        return () if bad else (0.0,)

    def __str__(self) -> str:
        return f"bursts:{self._text}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bursts) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
