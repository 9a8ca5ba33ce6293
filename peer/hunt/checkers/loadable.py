"""What a disk has promised is there when its agent comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker

if TYPE_CHECKING:
    from peer.hunt.processes import HuntSeat
    from peer.hunt.storage import CameBack
    from peer.hunt.trial import Trial
    from wire import PeerId

TICKS_LATE = 4  # a fast one makes several between two looks


class Loadable(Checker):
    """Numbers that were used, and the newest checkpoint; where that was damaged since, the one before it.

    And what was learned is kept as often as it is to be: a checkpoint that is never written is lost, too.
    """

    name = "loadable"

    def __init__(self) -> None:
        self._asked: dict[tuple[PeerId, int], tuple[int, int]] = {}  # by life: times, and own tick then

    def tick(self, trial: Trial) -> None:
        """Nobody who runs goes on for longer than it should without asking its disk."""
        every = trial.world.settings.checkpoint_ticks
        for life in trial.lives:
            if not every or not life.is_alive:
                continue
            own, ticks = life.agent.identity, life.agent.ticks
            asked = trial.storage.machine(own.peer).asked
            key = (own.peer, own.incarnation)
            before, then = self._asked.get(key, (asked, 0))
            if asked != before:
                then = ticks
            elif ticks - then > every + TICKS_LATE:
                self.fail(f"{own.peer} has kept nothing for {ticks - then} ticks, and should every {every}")
            self._asked[key] = (asked, then)

    def came_back(self, trial: Trial, member: HuntSeat, found: CameBack) -> None:
        """Nothing promised is missing, and what is there is what was kept."""
        machine, peer = found.machine, found.peer
        self.require(
            found.epoch >= machine.epoch and found.incarnation >= machine.incarnation,
            f"{peer} used epoch {machine.epoch} and incarnation {machine.incarnation}; its disk has "
            f"{found.epoch} and {found.incarnation}",
        )
        machine.incarnation = found.incarnation + 1
        promised = sorted(machine.checkpoints)
        if machine.damaged and promised and found.number < promised[-1]:
            del machine.checkpoints[promised.pop()]
        machine.damaged = False
        if promised:
            self.require(
                found.number >= promised[-1],
                f"{peer} kept checkpoint {promised[-1]}; it finds {found.number or 'none'}",
            )
        if found.checkpoint is not None and found.number in machine.checkpoints:
            self.require(
                found.checkpoint.manifest(found.number) == machine.checkpoints[found.number],
                f"{peer} finds another checkpoint {found.number} than it kept",
            )
        if found.checkpoint is not None and member.agent is not None:
            kept, now = trial.storage.snapshot(peer), member.agent.solver.snapshot()
            self.require(
                kept is not None
                and now.values == {name: kept.values[name] for name in now.values}
                and all(now.arrays[name].units == one.units for name, one in kept.arrays.items()),
                f"{peer} does not go on from checkpoint {found.number} as it is",
            )
