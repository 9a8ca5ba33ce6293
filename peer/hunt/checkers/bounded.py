"""Queues and tables stay small, whatever comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from peer.bypasses import ALL_ARE_KNOWN
from peer.hunt.checkers.base import Checker
from peer.hunt.hostile import GHOSTS
from peer.hunt.quadratics import QuadraticLearner
from peer.hunt.world import TICK_S
from peer.liveness import OWN_BEATS_MAX
from peer.soak.census import tables
from peer.topology import BYPASS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.agent import Agent
    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.processes import HuntSeat
    from peer.hunt.trial import Trial
    from wire import PeerId

GOODBYES_AND_BEACONS = 4  # slots of a link beside its blocks
CENSUS_EVERY_S = 200.0 * TICK_S  # it takes some milliseconds
# Targets beside the circles: where all other links of a small swarm are cut, one agent pushes to everybody.
BESIDE_MAX = max(BYPASS_MAX, ALL_ARE_KNOWN)
STREAMS = 2
PER_NAME_AND_BLOCK = 4  # entries of any table; the largest have one for each stream
OF_THEIR_OWN = 16  # that are about the agent itself
LIMITS = {
    "Liveness._beat_at": OWN_BEATS_MAX,
    "FixedVector.units": 2**63,  # elements, not entries: whatever holds vectors is counted
}


class Bounded(Checker):
    """One slot per link and block, and one entry per name; now and then every table is counted."""

    name = "bounded"

    def __init__(self) -> None:
        self._counted_at = 0.0

    def tick(self, trial: Trial) -> None:
        """Of everybody who runs."""
        names = _names(trial)
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
                ("out-neighbours", len(agent.out_neighbours), trial.world.settings.fanout + BESIDE_MAX),
                ("waiting for a link", waiting, blocks + GOODBYES_AND_BEACONS),
            ):
                if size > limit:
                    self.fail(f"{what} at {peer}: {size}, more than {limit}")
        if trial.simulation.now >= self._counted_at + CENSUS_EVERY_S:
            self._counted_at = trial.simulation.now
            self._count(trial)

    def end(self, trial: Trial, core: Sequence[HuntSeat], ticks_before: Mapping[PeerId, int]) -> None:  # noqa: ARG002
        """A last time."""
        self._count(trial)

    def _count(self, trial: Trial) -> None:
        """Every table that can be reached from an agent, by what it is about: peers and their blocks."""
        names = _names(trial)
        for life in trial.lives:
            if not life.is_alive:
                continue
            agent, found = life.agent, _counted(life.agent)
            peer, blocks = agent.identity.peer, len(agent.solver.spans)
            usual = PER_NAME_AND_BLOCK * names * blocks + OF_THEIR_OWN
            for table, size in found.items():
                if size > LIMITS.get(table, usual):
                    self.fail(f"{table} of {peer} has {size} entries, about {names} peers")
            links = found["Plausibility._links"]
            there = len(agent.peers) + found["Agent._departed"]  # those are forgotten at the next tick
            if links > STREAMS * blocks * there:
                self.fail(f"{peer} remembers {links} links of peers, of whom {there} are there")


def _counted(agent: Agent[FixedVector]) -> Counter[str]:
    """Entries of each table, traced or not: what a trace holds, or who looks on, is not of the agent."""
    found: Counter[str] = Counter()
    learner = agent.solver.learner
    assert isinstance(learner, QuadraticLearner)
    watcher, learner.watcher = learner.watcher, None
    counted = tables([agent])
    learner.watcher = watcher
    for table, size in counted.items():
        if not table.startswith("Trace."):
            found[table.replace("WatchedAgent.", "Agent.")] += size
    return found


def _names(trial: Trial) -> int:
    """Of everybody who was ever there, or was spoken of."""
    return len({life.agent.identity.peer for life in trial.lives}) + trial.lied * (1 + GHOSTS)
