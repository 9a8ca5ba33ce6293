"""The three sets of samples of a `peer.ModuleProblem`, and the batches that are drawn of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.data.datasets import read
from peer.data.inputs import joined
from peer.data_position import ShuffledBatches
from peer.errors import ProblemError
from peer.module_checks import check_samples
from peer.module_scores import in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from peer.data.datasets import Columns, Data
    from peer.data.inputs import Inputs, Samples

BATCH_SIZE: Final = 64  # where nobody says another


@dataclass(frozen=True, slots=True)
class ModuleData:
    """Samples as tensors, how many of them make a batch, and what decides their order."""

    train: Samples
    validation: Samples
    test: Samples | None
    batch_size: int
    outer_batch_size: int
    seed: int

    @classmethod
    def of(
        cls,
        train: Data,
        validation: Data,
        test: Data | None,
        columns: Columns | None,
        batch_size: int | None,
        seed: int,
    ) -> ModuleData:
        """Read what was given; a batch is as large as is said, else as that of a loader.

        Raises `ProblemError` for what is no set of samples, and for sets that are empty or unequal.
        """
        if batch_size is not None and batch_size < 1:
            raise ProblemError(f"batch_size is {batch_size}; give 1 or more samples")
        given = {"train": train, "validation": validation, "test": test}
        found = {
            name: read(one, name, columns=columns, seed=seed)
            for name, one in given.items()
            if one is not None
        }
        for name, source in found.items():
            check_samples(name, source.samples)
        inner = batch_size or found["train"].batch_size or BATCH_SIZE
        return cls(
            found["train"].samples,
            found["validation"].samples,
            found["test"].samples if "test" in found else None,
            inner,
            batch_size or found["validation"].batch_size or inner,
            seed,
        )

    def sets(self) -> dict[str, Samples]:
        """By name, those that there are."""
        test = {} if self.test is None else {"test": self.test}
        return {"train": self.train, "validation": self.validation, **test}

    def batches(self) -> ShuffledBatches:
        """Endless training batches."""
        return ShuffledBatches(self.train, self.batch_size, self.seed)

    def outer_batches(self) -> ShuffledBatches:
        """Endless validation batches, from a stream of their own."""
        return ShuffledBatches(self.validation, self.outer_batch_size, self.seed + 1)

    def all_batches(self) -> ShuffledBatches:
        """Endless batches of training and validation samples together."""
        return ShuffledBatches(joined(self.train, self.validation), self.batch_size, self.seed)

    def tested(self, forward: Callable[[Inputs], Tensor]) -> Tensor:
        """Outputs for all test samples, of which there must be some, on the device of their targets."""
        assert self.test is not None
        inputs, targets = self.test
        return in_pieces(forward, inputs, len(targets)).to(targets.device)
