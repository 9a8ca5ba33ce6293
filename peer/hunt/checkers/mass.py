"""DESIGN (9) with `==`: no mass is made or lost in the highest epoch, whatever the network does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.events import EpochEntered
from peer.hunt.checkers.base import Checker
from peer.phase import Phase
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from peer.events import Event
    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.trial import Life, Trial
    from wire import PeerId


ROUNDING = 1e-9


class Mass(Checker):
    """Trackers and what is on the links add up to the gradients, over all that entered an epoch.

    Dead ones included, and who listens for a later one: what they hold stays where it is. An epoch in which a
    liar has spoken of sums is not judged: what it put in is its own secret.
    """

    name = "mass"

    def __init__(self) -> None:
        self._entered: dict[tuple[PeerId, int], int] = {}  # epochs entered last, by identity and incarnation

    def event(self, trial: Trial, now: float, peer: PeerId, event: Event) -> None:  # noqa: ARG002
        """An agent has entered an epoch."""
        if isinstance(event, EpochEntered):
            life = next(life for life in reversed(trial.lives) if life.agent.identity.peer == peer)
            self._entered[peer, life.agent.identity.incarnation] = event.epoch

    def tick(self, trial: Trial) -> None:
        """Both streams, every element."""
        epochs = [(self._epoch_of(life), life) for life in trial.lives]
        highest = max((epoch for epoch, _ in epochs), default=0)
        if highest in trial.tainted:
            return
        entered = {life.agent.identity.peer: life for epoch, life in epochs if epoch == highest}
        for index, name in enumerate(("model", "adjoint")):
            held, put_in = self._totals(entered, index)
            wrong = [number for number in range(len(held)) if held[number] != put_in[number]]
            self.require(
                not wrong, f"epoch {highest}, {name}, elements {wrong}: there is {held}, put in was {put_in}"
            )
        self._weights(entered, highest)

    def _epoch_of(self, life: Life) -> int:
        """Whose mass it holds: that of the epoch it is in, or has left to listen; 0 if it was in none."""
        agent = life.agent
        if agent.phase is not Phase.LISTENING:
            return agent.epoch
        return self._entered.get((agent.identity.peer, agent.identity.incarnation), 0)

    def _weights(self, entered: dict[str, Life], epoch: int) -> None:
        """Those of the averages are floats: up to rounding."""
        averages = {peer: life.agent.solver.tuner.averages for peer, life in entered.items()}
        weight = 0.0
        for peer, one in averages.items():
            weight += one.held[0]
            for target in entered[peer].agent.out_neighbours:
                known = averages.get(target)
                _, arrived = (0, one.zeros) if known is None else known.received.get(peer, (0, one.zeros))
                weight += one.pushed[0] - arrived[0]
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
