"""Who holds how many samples of which label: the numbers behind a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from peer.data.partition import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from peer.data.partition import Share

BARS: Final = " ▁▂▃▄▅▆▇█"
MOST: Final = 0.8  # of an agent's samples, when it is told how many labels hold most of them


@dataclass(frozen=True, slots=True)
class Holdings:
    """`counts` (agents, labels): samples, by labels as the agents see them; `sizes` (agents, 3): of parts."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    groups: tuple[int, ...]

    @property
    def labels_for_most(self) -> list[int]:
        """How few labels hold `MOST` of each agent's samples: small where agents differ much."""
        ordered = -np.sort(-self.counts, axis=1)
        reached = np.cumsum(ordered, axis=1) >= MOST * self.counts.sum(axis=1, keepdims=True)
        return [int(place) + 1 for place in np.argmax(reached, axis=1)]

    def bars(self) -> list[str]:
        """A character per label for each agent, as high as its share of the agent's most frequent one.

        Only what an agent does not have at all is blank.
        """
        most = self.counts.max(axis=1, keepdims=True)
        heights = np.ceil(self.counts / most * (len(BARS) - 1)).astype(int)
        return ["".join(BARS[height] for height in row) for row in heights]


def holdings(
    labels: NDArray[np.int64],
    shares: Sequence[Share],
    names: tuple[str, ...],
    train: float | None = None,
    validation: float | None = None,
) -> Holdings:
    """Of these shares; `train` and `validation` are the fractions of a task that splits otherwise."""
    counts = [np.bincount(share.seen(labels[share.rows]), minlength=len(names)) for share in shares]
    fractions = () if train is None or validation is None else (train, validation)
    sizes = [[len(part) for part in parts_of(share.rows, *fractions)] for share in shares]
    return Holdings(names, np.stack(counts), np.array(sizes), tuple(share.group for share in shares))
