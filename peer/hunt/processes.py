"""The processes of a world and their disks: who dies in the midst of an operation, and who comes back."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.errors import StateError
from peer.hunt.checkers.base import Violation
from peer.hunt.disk_troubles import SUPERVISED_S
from peer.hunt.fixed_point import FixedVector
from peer.hunt.storage import DiskStorage
from peer.scenario import Kill, Leave, Pause
from peer.storage import ProcessEndedError
from peer.virtual_seats import Seat, VirtualSeats

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from peer.hunt.disk_troubles import BadDisk, Death
    from peer.hunt.quadratics import Quadratic
    from peer.hunt.storage import CameBack
    from peer.scenario import Change
    from peer.simulation import Simulation
    from wire import PeerId


@dataclass(slots=True, kw_only=True)
class HuntSeat(Seat[FixedVector]):
    """One seat, its task and its machine."""

    task: Quadratic
    speed: float
    starts: int = 0  # that were tried
    starts_again: bool = False  # what its disk did not let start
    death: Death | None = None  # that waits at its disk


class Processes(VirtualSeats[FixedVector, HuntSeat]):
    """Seats whose agents keep what they must on disks that fail."""

    def __init__(
        self,
        simulation: Simulation[FixedVector],
        seats: Sequence[HuntSeat],
        *,
        seed: int,
        marks: Counter[str],
    ) -> None:
        self.storage = DiskStorage(seed, marks)
        simulation.storage = self.storage
        simulation.on_death = self._died
        super().__init__(simulation, seats, seed=seed, notice_s=None)

    @abstractmethod
    def came_back(self, member: HuntSeat, found: CameBack) -> None:
        """A process has started and goes on from this."""

    def spoil(self, deaths: Iterable[Death], disks: Iterable[BadDisk]) -> None:
        """Let this happen when it is time."""
        simulation = self.simulation
        for death in deaths:
            simulation.at(death.from_s, lambda death=death: self._arm(death))  # type: ignore[misc]
        for disk in disks:
            simulation.at(disk.from_s, lambda disk=disk: self._worsen(disk))  # type: ignore[misc]
            simulation.at(disk.until_s, lambda disk=disk: self._mend(disk))  # type: ignore[misc]

    def change(self, change: Change) -> None:
        """Let this happen now, unless the agent's disk was faster or does not let it start."""
        member = self.members[change.agent]
        if not member.alive and isinstance(change, Kill | Leave | Pause):
            if not isinstance(change, Pause):
                member.starts += 1  # nor does anybody start it again until it comes
                member.starts_again = False
            return
        super().change(change)
        if not member.alive and self.storage.machine(member.peer).files is not None:
            self._end(member)

    def _come(self, member: HuntSeat, *, founder: bool, tell: bool = True) -> None:
        """A process starts; one that cannot is started again later, as a supervisor does."""
        member.starts += 1
        attempt = member.starts
        try:
            found = self.storage.start(member.peer)
        except (StateError, ProcessEndedError) as error:
            if isinstance(error, StateError) and self.storage.machine(member.peer).disk.is_well:
                raise Violation("loadable", f"{member.peer} does not start: {error}") from error
            self._end(member)
            member.starts_again = True
            self.simulation.at(
                self.simulation.now + SUPERVISED_S,
                lambda: self._come(member, founder=False) if member.starts == attempt else None,
            )
            return
        member.starts_again = False
        member.incarnation = found.incarnation + 1
        super()._come(member, founder=founder, tell=tell)
        self.came_back(member, found)

    def _arm(self, death: Death) -> None:
        member = self.members[death.agent]
        if member.alive:
            machine = self.storage.machine(member.peer)
            machine.ends_after, machine.power_fails = death.operations, death.power_fails
            member.death = death

    def _died(self, peer: PeerId) -> None:
        member = next(one for one in self.members if one.peer == peer)
        member.alive = False
        self._end(member)

    def _end(self, member: HuntSeat) -> None:
        self.storage.end(member.peer)
        death, member.death = member.death, None
        if death is not None:
            self.storage.machine(member.peer).ends_after = death.starts_end_after
            if death.damaged:
                self.storage.damage(member.peer, death.damaged)

    def _worsen(self, bad: BadDisk) -> None:
        machine = self.storage.machine(self.members[bad.agent].peer)
        machine.operation_s = bad.operation_s
        if not bad.operation_s:
            disk = machine.disk
            disk.is_broken = bad.room is None
            disk.room = 0 if bad.room == 0 else None
            disk.longest = bad.room or None

    def _mend(self, bad: BadDisk) -> None:
        machine = self.storage.machine(self.members[bad.agent].peer)
        machine.operation_s = 0.0
        machine.disk.room = machine.disk.longest = None
        machine.disk.is_broken = False
