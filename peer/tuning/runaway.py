"""Shorter steps of the adjoint where minibatches make it run away.

The adjoint solves a linear equation, H p = F, by steps along products of p with the Hessian of a minibatch.
That noise is multiplied by p: where minibatches bend differently, p grows for ever, with steps at which the
model, whose noise fades as it learns, does well. What tells is how hard the adjoint is strained: how long its
own gradient H p - F is, in lengths of F. It begins at one and falls; agents unlike each other, and
minibatches, bear some more. Strain that doubles again and again is answered with shorter steps, which lead to
the same answer, later; damping would lead to another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peer.snapshot import SnapshotError

if TYPE_CHECKING:
    from peer.snapshot import Plain

STRAIN_BORNE = 10.0  # does no harm
WINDOW = 2  # measurements
DOUBLED = 2.0  # since it was answered last
SHORTER_LEAST = 0.1
LONGER = 1.1
FADES = 0.9
FACTOR_MIN = 0.01


class Runaway:
    """What one agent would have the steps of the adjoint multiplied by: 1 where it is not strained."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._strains: list[float] = []  # of this window
        self._answered = STRAIN_BORNE

    def see(self, strain: float) -> None:
        """Length of the adjoint's own gradient, in lengths of the gradient of the outer loss.

        What is not finite comes of a batch, or of a step that is undone, and says nothing.
        """
        if not math.isfinite(strain):
            return
        self._strains.append(strain)
        if len(self._strains) < WINDOW:
            return
        mean = sum(self._strains) / WINDOW
        self._strains.clear()
        if mean > DOUBLED * self._answered:
            shorter = max(SHORTER_LEAST, self._answered / mean)
            self.factor = max(FACTOR_MIN, shorter * self.factor)
            self._answered = mean
            return
        self.factor = min(1.0, LONGER * self.factor)
        if DOUBLED * mean < self._answered:
            self._answered = max(STRAIN_BORNE, FADES * self._answered)

    def values(self) -> dict[str, Plain]:
        """All that was found out, for `restore`."""
        return {"factor": self.factor, "answered": self._answered}

    def restore(self, values: Plain) -> None:
        """Go on from there. Raises `SnapshotError`."""
        found = values if isinstance(values, dict) else {}
        factor, answered = found.get("factor"), found.get("answered")
        if not isinstance(factor, int | float) or not FACTOR_MIN <= factor <= 1.0:
            raise SnapshotError(f"runaway: factor is {factor!r} instead of a number from {FACTOR_MIN:g} to 1")
        if not isinstance(answered, int | float) or not STRAIN_BORNE <= answered < math.inf:
            raise SnapshotError(f"runaway: answered is {answered!r} instead of {STRAIN_BORNE:g} or more")
        self.factor, self._answered = float(factor), float(answered)
