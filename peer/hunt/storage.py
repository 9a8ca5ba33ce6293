"""The disks of a world: the very files that real agents write, on `VirtualDisk`s that fail.

What happens to a disk is armed by troubles; what an agent was promised is noted, and compared with what it
finds when it comes back.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from peer.checkpoints import Checkpoint, CheckpointStore
from peer.errors import StateError
from peer.hunt.disk import VirtualDisk
from peer.hunt.fixed_point import FixedVector
from peer.snapshot import Snapshot
from peer.state_files import StateFiles
from peer.storage import ProcessEndedError, Storage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from wire import PeerId

KEEP = 2
AGAIN_S = 1.0  # as real agents ask a disk again that refused


@dataclass(slots=True)
class Machine:
    """The disk of one identity, what is wrong with it, and what it has promised."""

    disk: VirtualDisk
    files: StateFiles | None = None  # while a process has it open
    store: CheckpointStore | None = None
    operation_s: float = 0.0  # each of its operations takes so long
    operations: int = 0
    ends_after: int = 0  # operations, the process ends in the next one; 0: it does not
    power_fails: bool = False  # when it ends
    damaged: bool = False  # one file, since the process ended
    asked: int = 0  # times to keep a checkpoint
    epoch: int = 0  # promised
    incarnation: int = 0
    checkpoints: dict[int, str] = field(default_factory=dict)  # numbers promised, with their digests


@dataclass(frozen=True, slots=True)
class CameBack:
    """What an agent has found on its disk, beside what that had promised."""

    peer: PeerId
    machine: Machine
    number: int  # of the checkpoint; 0: none
    checkpoint: Checkpoint | None
    epoch: int
    incarnation: int


class DiskStorage(Storage[FixedVector]):
    """`peer.storage.Storage` on disks that fail. `marks` counts what happened."""

    def __init__(self, seed: int, marks: Counter[str]) -> None:
        super().__init__()
        self._seed = seed
        self._marks = marks
        self._machines: dict[PeerId, Machine] = {}
        self._found: dict[PeerId, Checkpoint | None] = {}

    def machine(self, peer: PeerId) -> Machine:
        """That of this identity."""
        known = self._machines.get(peer)
        if known is None:
            rng = random.Random(f"{self._seed}/{peer}/disk")
            known = self._machines[peer] = Machine(
                VirtualDisk(rng, lambda operation, _: self._before(peer, operation))
            )
        return known

    def start(self, peer: PeerId) -> CameBack:
        """A process opens the files of this identity and counts one start.

        Raises StateError if the disk refuses, ProcessEndedError if it ends.
        """
        machine = self.machine(peer)
        secret = hashlib.sha256(f"{self._seed}/{peer}".encode()).digest()
        files = StateFiles(machine.disk, lambda: secret)
        found = files.numbers
        files.keep(incarnation=found.incarnation + 1)
        store = CheckpointStore(machine.disk, keep=KEEP)
        number, checkpoint, _ = store.newest()
        machine.files, machine.store = files, store
        machine.ends_after = 0  # it has started: whatever was to end its start is over
        self._found[peer] = checkpoint
        self._marks["checkpoint found"] += checkpoint is not None
        self._marks["file mended"] += len(files.findings)
        return CameBack(peer, machine, number, checkpoint, found.epoch, found.incarnation)

    def end(self, peer: PeerId, *, power_fails: bool = False) -> None:
        """The process is no more; its power may have failed."""
        machine = self.machine(peer)
        machine.files = machine.store = None
        machine.ends_after = 0
        if power_fails or machine.power_fails:
            self._marks["power failed"] += 1
            machine.power_fails = False
            machine.disk.lose_power()

    def damage(self, peer: PeerId, name: str) -> None:
        """One file of an identity that does not run: of those that begin so, the last."""
        machine = self.machine(peer)
        names = sorted(one for one in machine.disk.names() if one.startswith(name))
        if names:
            machine.disk.damage(names[-1])
            machine.damaged = True
            self._marks["file damaged"] += 1

    def epoch(self, peer: PeerId) -> int:
        """What is on its disk."""
        files = self.machine(peer).files
        return 0 if files is None else files.numbers.epoch

    def snapshot(self, peer: PeerId) -> Snapshot[FixedVector] | None:
        """What was found when it started."""
        found = self._found.get(peer)
        return None if found is None else Snapshot(_unpack(found.tensors), found.values)

    def keep_epoch(self, peer: PeerId, epoch: int) -> tuple[bool, float]:
        """As real agents do: again until the disk takes it. What is there already is for checkers to see."""
        machine = self.machine(peer)
        assert machine.files is not None
        if epoch <= machine.files.numbers.epoch:
            return True, 0.0
        before = machine.operations
        try:
            machine.files.keep(epoch=epoch)
        except StateError:
            self._marks["epoch refused by the disk"] += 1
            return False, AGAIN_S
        machine.epoch = epoch
        return True, machine.operation_s * (machine.operations - before)

    def keep_snapshot(self, peer: PeerId, snapshot: Snapshot[FixedVector]) -> None:
        """Nothing waits for it."""
        machine = self.machine(peer)
        assert machine.files is not None
        assert machine.store is not None
        machine.asked += 1
        numbers = machine.files.numbers
        checkpoint = Checkpoint(
            identity=machine.files.identity.fingerprint,
            model="quadratic",
            incarnation=numbers.incarnation,
            epoch=numbers.epoch,
            saved_at="",
            values=dict(snapshot.values),
            tensors=_pack(snapshot.arrays),
        )
        try:
            number = machine.store.write(checkpoint)
        except (OSError, ProcessEndedError) as error:
            if not machine.disk.is_well:  # all but the newest may have been given up to make room
                machine.checkpoints = dict(sorted(machine.checkpoints.items())[-1:])
            if isinstance(error, ProcessEndedError):
                raise
            self._marks["checkpoint refused by the disk"] += 1
            return
        self._marks["checkpoint kept"] += 1
        machine.checkpoints[number] = checkpoint.manifest(number)
        while len(machine.checkpoints) > KEEP:
            del machine.checkpoints[min(machine.checkpoints)]

    def _before(self, peer: PeerId, operation: str) -> None:
        machine = self._machines[peer]
        machine.operations += 1
        if machine.ends_after:
            machine.ends_after -= 1
            if not machine.ends_after:
                self._marks[f"ended at the disk: {operation}"] += 1
                raise ProcessEndedError


def _pack(arrays: Mapping[str, FixedVector]) -> bytes:
    return json.dumps({name: vector.units for name, vector in arrays.items()}).encode()


def _unpack(content: bytes) -> dict[str, FixedVector]:
    found: dict[str, Any] = json.loads(content)
    return {name: FixedVector(units) for name, units in found.items()}
