"""Simulated agents on disks that take their time, refuse, and end processes."""

from __future__ import annotations

from typing import Any

from peer.simulation import Simulation
from peer.storage import ProcessEndedError, Storage
from tests.unit.driving import start
from tests.unit.test_simulation import NoCodec
from wire import FaultPlan


class SlowAndDeadly(Storage[Any]):
    """Takes 3 s for the first epoch, refuses the second once, and ends the process at the third."""

    def keep_epoch(self, peer: str, epoch: int) -> tuple[bool, float]:
        match epoch:
            case 1:
                return super().keep_epoch(peer, epoch)[0], 3.0
            case 2 if self.epoch(peer) == 1 and not self.refused:
                self.refused = True
                return False, 2.0
            case 3:
                raise ProcessEndedError
        return super().keep_epoch(peer, epoch)

    refused = False


def test_a_simulated_agent_stands_still_while_its_disk_works_and_ends_with_its_process() -> None:
    died: list[str] = []
    world: Simulation[Any] = Simulation(faults=FaultPlan(), seed=0, codec=NoCodec())
    world.storage = SlowAndDeadly()
    world.on_death = died.append
    agent = start(founder=True).agent
    world.start(agent)
    world.run_until(1.5)
    assert agent.epoch == 1
    assert agent.progress.report.training_loss != 0.0, "nothing was computed yet"
    world.run_until(6.0)
    assert agent.progress.report.training_loss == 0.0
    assert world.storage.epoch("b") == 1
    world.tell_seen("b", "a", 0)
    while not world.storage.refused:
        world.run_until(world.now + 0.5)
    assert world.storage.epoch("b") == 1
    world.run_until(world.now + 4.0)
    assert world.storage.epoch("b") == 2
    assert not died
    world.tell_seen("b", "c", 0)
    world.run_until(world.now + 60.0)
    assert died == ["b"]
    assert not world.nodes


def test_nobody_has_to_be_told_of_a_death() -> None:
    world: Simulation[Any] = Simulation(faults=FaultPlan(), seed=0, codec=NoCodec())
    world.storage = SlowAndDeadly()
    agent = start(founder=True, epoch_floor=2).agent
    world.start(agent)
    world.run_until(60.0)
    assert not world.nodes


class DeadlyAtTheEnd(Storage[Any]):
    """Ends the process while it keeps what was learned."""

    def keep_snapshot(self, peer: str, snapshot: Any) -> None:
        raise ProcessEndedError


def test_who_dies_at_its_disk_while_it_leaves_is_gone_too() -> None:
    """Found by the hunt."""
    died: list[str] = []
    world: Simulation[Any] = Simulation(faults=FaultPlan(), seed=0, codec=NoCodec())
    world.storage = DeadlyAtTheEnd()
    world.on_death = died.append
    world.start(start(founder=True, checkpoint_ticks=1_000).agent)
    world.run_until(5.0)
    world.leave("b")
    assert died == ["b"]
    assert not world.nodes
