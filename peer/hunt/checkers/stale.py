"""Nothing of a lower epoch or a dead incarnation is ever applied, nor what is older after what is newer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.phase import Phase
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.trial import Life, Trial
    from peer.learner import TickReport
    from wire import PeerId, Push

Link = tuple["PeerId", int, "PeerId", int, int]  # target, incarnation, source, block, epoch


class NothingStale(Checker):
    """What an agent has taken on a link is what its source announced in this very epoch, newer each time.

    An identity enters an epoch once, so its announcements in an epoch are those of one incarnation. Looked at
    are the sums of both streams that an agent holds, the messages that it absorbs, and that estimates are the
    mean of what they are to be made of, to the last unit.
    """

    name = "stale"

    def __init__(self) -> None:
        self._held: dict[Link, int] = {}  # places in the order of announcements
        self._taken: dict[Link, int] = {}

    def ticked(
        self,
        trial: Trial,
        life: Life,
        before: Sequence[FixedVector],
        pushes: Sequence[Push[FixedVector]],
        report: TickReport,
    ) -> None:
        """Every message absorbed, and what estimates were made of."""
        agent = life.agent
        if agent.epoch in trial.tainted:
            return
        refused = {peer for peer, _ in report.objections}
        for push in pushes:
            if push.sender not in refused:
                self._take(trial, life, push)
        if not refused:  # else some of theirs may have been taken before
            self._check_means(life, before, pushes)

    def joined(self, trial: Trial, life: Life, heard: Mapping[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """A joiner begins with what was announced in the epoch that it listens to."""
        epoch = life.agent.epoch
        for push in heard.values():
            if epoch not in trial.tainted and not any(
                _same(told, push.arrays) for told in trial.told[push.sender, epoch, push.block]
            ):
                self.fail(
                    f"{life.agent.identity.peer} begins with an estimate of {push.sender}, block "
                    f"{push.block}, that {push.sender} did not announce in epoch {epoch}"
                )

    def tick(self, trial: Trial) -> None:
        """The sums of every link of everybody who is at work."""
        for life in trial.lives:
            agent = life.agent
            if not life.is_alive or agent.phase is Phase.LISTENING or agent.epoch in trial.tainted:
                continue
            own = agent.identity
            model, adjoint = agent.solver.streams
            assert isinstance(model, TrackingStream)
            assert isinstance(adjoint, TrackingStream)
            blocks = {span.start: block for block, span in enumerate(agent.solver.spans)}
            others = adjoint.mass.received
            if len(others) != len(model.mass.received):
                self.fail(f"{own.peer} holds sums of the model and of the adjoint from different links")
            for (source, start), total in model.mass.received.items():
                block = blocks[start]
                told = trial.told[source, agent.epoch, block]
                link = (own.peer, own.incarnation, source, block, agent.epoch)
                units, other_units = total.units, others[source, start].units
                for place in range(self._held.get(link, 0), len(told)):
                    if told[place][1].units == units and told[place][3].units == other_units:
                        self._held[link] = place
                        break
                else:
                    self.fail(
                        f"{own.peer} holds a total of {source}, block {block}, that {source} did not "
                        f"announce in epoch {agent.epoch}, or before one that {own.peer} held already"
                    )

    def _take(self, trial: Trial, life: Life, push: Push[FixedVector]) -> None:
        own, epoch = life.agent.identity, life.agent.epoch
        told = trial.told[push.sender, epoch, push.block]
        link = (own.peer, own.incarnation, push.sender, push.block, epoch)
        for place in range(self._taken.get(link, 0), len(told)):
            if _same(told[place], push.arrays):
                self._taken[link] = place + 1
                return
        self.fail(
            f"{own.peer} absorbs a message of {push.sender}, block {push.block}, that {push.sender} did not "
            f"send in epoch {epoch}, or not after the last one absorbed"
        )

    def _check_means(
        self, life: Life, before: Sequence[FixedVector], pushes: Sequence[Push[FixedVector]]
    ) -> None:
        solver = life.agent.solver
        for index, stream in enumerate(solver.streams):
            expected = before[index].units.copy()
            for block, span in enumerate(solver.spans):
                heard = [push.arrays[2 * index].units for push in pushes if push.block == block]
                if heard:
                    sums = [sum(units) for units in zip(expected[span], *heard, strict=True)]
                    expected[span] = [round(total / (1 + len(heard))) for total in sums]
            if stream.estimate.units != expected:
                self.fail(
                    f"{('model', 'adjoint')[index]} of {life.agent.identity.peer} is not the mean of its own "
                    f"and what it has heard since its last tick, in epoch {life.agent.epoch}"
                )


def _same(told: Sequence[FixedVector], arrays: Sequence[FixedVector]) -> bool:
    return all(one.units == other.units for one, other in zip(told, arrays, strict=True))
