"""Queues and tables stay small, whatever comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.hunt.hostile import GHOSTS
from peer.topology import BYPASS_MAX

if TYPE_CHECKING:
    from peer.hunt.trial import Trial

GOODBYES_AND_BEACONS = 4  # slots of a link beside its blocks


class Bounded(Checker):
    """One slot per link and block, and one entry per name."""

    name = "bounded"

    def tick(self, trial: Trial) -> None:
        """Of everybody who runs."""
        names = len({life.agent.identity.peer for life in trial.lives}) + trial.lied * (1 + GHOSTS)
        for life in trial.lives:
            if not life.is_alive:
                continue
            agent = life.agent
            peer, blocks = agent.identity.peer, len(agent.solver.spans)
            outbox = trial.simulation.nodes[peer].outbox
            waiting = max([outbox.waiting(one.peer) for one in trial.members], default=0)
            for what, size, limit in (
                ("messages waiting", len(agent.inbox), names * blocks),
                ("peers remembered", len(agent.membership.liveness.lives), names),
                ("peers alive", len(agent.peers), names),
                ("out-neighbours", len(agent.out_neighbours), trial.world.settings.fanout + BYPASS_MAX),
                ("waiting for a link", waiting, blocks + GOODBYES_AND_BEACONS),
            ):
                if size > limit:
                    self.fail(f"{what} at {peer}: {size}, more than {limit}")
