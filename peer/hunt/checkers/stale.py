"""Nothing of a lower epoch or a dead incarnation is ever applied, nor what is older after what is newer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.phase import Phase
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from peer.hunt.trial import Trial
    from wire import PeerId

Link = tuple["PeerId", int, "PeerId", int, int]  # target, incarnation, source, block, epoch


class NothingStale(Checker):
    """What an agent has received on a link is a total that its source announced in this very epoch.

    An identity enters an epoch once, so its announcements in an epoch are those of one incarnation.
    """

    name = "stale"

    def __init__(self) -> None:
        self._place: dict[Link, int] = {}  # in the order of announcements

    def tick(self, trial: Trial) -> None:
        """Every link of everybody who is at work."""
        for life in trial.lives:
            agent = life.agent
            if not life.is_alive or agent.phase is Phase.LISTENING or agent.epoch in trial.tainted:
                continue
            own = agent.identity
            stream = agent.solver.model
            assert isinstance(stream, TrackingStream)
            blocks = {span.start: block for block, span in enumerate(agent.solver.spans)}
            for (source, start), total in stream.mass.received.items():
                block = blocks[start]
                told = trial.told[source, agent.epoch, block]
                link = (own.peer, own.incarnation, source, block, agent.epoch)
                first = self._place.get(link, 0)
                place = next((at for at in range(first, len(told)) if told[at].units == total.units), None)
                if place is None:
                    self.fail(
                        f"{own.peer} holds a total of {source}, block {block}, that {source} did not "
                        f"announce in epoch {agent.epoch}, or before one that {own.peer} held already"
                    )
                self._place[link] = place
