"""DESIGN (9) with `==`: no mass is made or lost in the highest epoch, whatever the network does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.phase import Phase
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.trial import Life, Trial


ROUNDING = 1e-9


class Mass(Checker):
    """Trackers and what is on the links add up to the gradients, over all that entered, dead ones included.

    An epoch in which a liar has spoken of sums is not judged: what it put in is its own secret.
    """

    name = "mass"

    def tick(self, trial: Trial) -> None:
        """Both streams, every element."""
        lives = [life for life in trial.lives if life.agent.phase is not Phase.LISTENING]
        highest = max((life.agent.epoch for life in lives), default=0)
        if highest in trial.tainted:
            return
        entered = {life.agent.identity.peer: life for life in lives if life.agent.epoch == highest}
        for index, name in enumerate(("model", "adjoint")):
            held, put_in = self._totals(entered, index)
            wrong = [number for number in range(len(held)) if held[number] != put_in[number]]
            self.require(
                not wrong, f"epoch {highest}, {name}, elements {wrong}: there is {held}, put in was {put_in}"
            )
        self._weights(entered, highest)

    def _weights(self, entered: dict[str, Life], epoch: int) -> None:
        """Those of the averages are floats: up to rounding."""
        averages = {peer: life.agent.solver.tuner.averages for peer, life in entered.items()}
        weight = 0.0
        for peer, one in averages.items():
            weight += one.held[-1]
            for target in entered[peer].agent.out_neighbours:
                known = averages.get(target)
                _, arrived = (0, one.zeros) if known is None else known.received.get(peer, (0, one.zeros))
                weight += one.pushed[-1] - arrived[-1]
        right = abs(weight - len(entered)) <= ROUNDING * (1 + len(entered))
        self.require(
            right, f"epoch {epoch}: weights of the averages come to {weight} for {len(entered)} agents"
        )

    def _totals(self, entered: dict[str, Life], index: int) -> tuple[list[int], list[int]]:
        streams: dict[str, TrackingStream[FixedVector]] = {}
        for peer, life in entered.items():
            stream = life.agent.solver.streams[index]
            assert isinstance(stream, TrackingStream)
            streams[peer] = stream
        size = len(next(iter(streams.values())).gradient) if streams else 0
        held, put_in = [0] * size, [0] * size
        for peer, stream in streams.items():
            for number in range(size):
                held[number] += stream.mass.held.units[number]
                put_in[number] += stream.gradient.units[number]
            for target in entered[peer].agent.out_neighbours:
                received = streams[target].mass.received if target in streams else {}
                for span in entered[peer].agent.solver.spans:
                    arrived = received.get((peer, span.start))
                    for number in range(span.start, span.stop):
                        held[number] += stream.mass.pushed.units[number]
                        if arrived is not None:
                            held[number] -= arrived.units[number - span.start]
        return held, put_in
