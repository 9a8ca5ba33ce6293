"""What an agent keeps in its state directory, for whoever looks at it. An edge: it reads files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.assembly import fingerprint
from peer.checkpoints import CheckpointStore
from peer.errors import ProblemError, SettingError, StateError
from peer.file_disk import FileDisk
from peer.module_problem import ModuleProblem
from peer.snapshot import Snapshot, SnapshotError
from peer.streams import known_solvers
from peer.tensors import unpack
from peer.torch_learner import TorchLearner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from peer.checkpoints import Checkpoint
    from peer.tensors import FlatLayout

HAVE_SAMPLES: Final = (
    "digits, fashion-mnist, mnist, emnist, fedem-synthetic, folder, or a file that makes some"
)
BLOCKS_TRIED: Final = 4_096  # messages that a model may have been cut into: --block-fraction 0.00025
REMEDY: Final = "give the task, seed, shard, personalization and data that its agent was started with"


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest whole checkpoint, taken up by a learner of its problem."""

    learner: TorchLearner[Any]
    model: Mapping[str, Tensor]
    adjoint: Mapping[str, Tensor]
    number: int
    checkpoint: Checkpoint
    damaged: tuple[str, ...]  # what is wrong with newer ones

    @property
    def ticks(self) -> int:
        """How many its agent had done."""
        found = self.checkpoint.values.get("ticks")
        return found if isinstance(found, int) else 0

    def __str__(self) -> str:
        epoch = self.checkpoint.epoch
        return f"checkpoint {self.number} of {self.checkpoint.saved_at}, tick {self.ticks}, epoch {epoch}"


def sampled(name: str, problem: object) -> ModuleProblem:
    """The problem, which must be one of a module and samples. Raises `SettingError`."""
    if not isinstance(problem, ModuleProblem):
        raise SettingError(
            "task", name, f"its problems are no peer.ModuleProblem with samples; {HAVE_SAMPLES}"
        )
    return problem


def kept_by(folder: Path, problem: ModuleProblem, task: str | None = None) -> Kept:
    """What was learned of this problem; with the fingerprint of a `task`, only if it was of that one.

    Raises `StateError` if there is no whole checkpoint, or if it is of something else.
    """
    if not folder.is_dir():
        raise StateError(f"state: {folder} is no directory; give what --state of an agent was given")
    number, checkpoint, damaged = CheckpointStore(FileDisk(folder)).newest()
    if checkpoint is None:
        raise StateError(f"state: {folder} has no whole checkpoint; let an agent run there for a while")
    learner: TorchLearner[Any] = TorchLearner(problem)
    snapshot: Snapshot[Tensor] = Snapshot(unpack(checkpoint.tensors), checkpoint.values)
    layout = learner.layout
    try:
        learner.restore(snapshot.part("learner"), steps=False)
        arrays = {name: snapshot.array(name, layout.size) for name in ("model", "adjoint")}
    except (SnapshotError, ProblemError) as error:
        raise StateError(f"state: checkpoint {number} in {folder} does not fit: {error}; {REMEDY}") from None
    if task is not None and not _is_of(checkpoint.model, task, layout):
        told = "it was learned of another task, or with another seed or number of agents"
        raise StateError(f"state: checkpoint {number} in {folder} does not fit: {told}; {REMEDY}")
    model, adjoint = (layout.unflatten(arrays[name]) for name in ("model", "adjoint"))
    return Kept(learner, model, adjoint, number, checkpoint, tuple(damaged))


def _is_of(model: str, task: str, layout: FlatLayout) -> bool:
    """Whether a fingerprint is of this task and layout, with whatever solver and number of blocks."""
    described = layout.describe()
    return any(
        fingerprint(task, described, solver, str(blocks)) == model
        for solver in known_solvers()
        for blocks in range(1, min(layout.size, BLOCKS_TRIED) + 1)
    )
