"""Short steps where minibatches disagree, until they are seen to lead down.

Curvature bounds the steps of an agent that knows the gradient. One that knows it from a minibatch is driven
by noise as well, and long steps with momentum add that up: the loss rises where every single step would be
stable, and where the loss is high noise is higher still. By how much two minibatches differ at one point
tells how short to begin; the training loss tells whether longer steps still lead down.

Compare Robbins and Monro (1951), whose steps get shorter by a schedule instead of by what is seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.snapshot import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.algebra import Algebra
    from peer.snapshot import Plain

EXACT = 1e-3  # of the gradient's square: gradients that differ by less are not of minibatches
NOISE_BORNE = 0.2  # times the gradient's square: as much does no harm at full length
CURVATURE_MARGIN = 2.0  # what power iteration has found may be so much too low
WINDOW_TICKS = 4
LONGER = 1.5  # after a window that has led down,
A_LITTLE_LONGER = 1.05  # where steps half as long again as these have led up before
SHORTER = 0.5  # after one that has led up, and where the loss still rises
MUCH_SHORTER = 0.1  # where all that was gained is lost
TRIES = 1.03  # after any other: chance alone must not shorten steps for good
CERTAIN = 3.0  # standard errors
LOST = 0.1  # of all that has been gained so far: less is given back now and then, as hyperparameters move
SPREAD_WEIGHT = 0.2  # of the newest window's variance
BEST_FADES = 0.02  # of the way to the newest: losses change with hyperparameters, and with whoever joins
ANSWERED_FADES = 0.1  # likewise, of a rise that has made steps shorter
CAUTION_MIN = 0.01
CAUTION_FIRST = 0.03  # two gradients alone do not tell more
BEYOND_ALL = 1e100  # of a loss: squares are still numbers


class Caution(Generic[V]):
    """What one agent would have steps multiplied by: 1 where gradients are exact, or as good as that."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._before: tuple[V, V] | None = None  # point and gradient of the last tick at rest
        self.is_noisy: bool | None = None  # None: not known
        self.factor = 1.0
        self._losses: list[float] = []  # of this window
        self._variance = 0.0  # of a loss within a window
        self._start: float | None = None  # mean loss of the first window
        self._best: float | None = None  # of the best
        self._last: float | None = None  # of the newest
        self._ceiling = LONGER  # half of the factor that has led up; beyond all before one has
        self._is_retreating = False  # since then no window has led down

    def forget(self) -> None:
        """The agent moves by itself, or by what it hears, before it rests again."""
        self._before = None

    def rest(self, point: V, gradient: V, curvature: float) -> None:
        """Where an agent is that does not step, and its own gradient there.

        Of two successive gradients that part counts which `curvature`, and the way that averaging has moved
        the agent, do not explain; infinity explains all. Once it is known whether there is noise, nothing is
        measured any more.
        """
        if self.is_noisy is not None:
            return
        gradient = self._algebra.copy(self._algebra.to_mass(gradient))
        before, self._before = self._before, (self._algebra.copy(point), gradient)
        if before is None:
            return
        way = self._algebra.norm(point - before[0])
        explained = CURVATURE_MARGIN * curvature * way if way > 0.0 else 0.0
        unexplained = self._algebra.norm(gradient - before[1]) - explained
        alike = self._algebra.dot(before[1], gradient)
        if not math.isfinite(unexplained + alike):
            return
        # Batches are drawn without replacement: of a few to an epoch, noise is overestimated.
        noise, signal = max(0.0, unexplained) ** 2 / 2.0, max(0.0, alike)
        if way > 0.0 and noise <= EXACT * signal:
            return
        self.is_noisy = noise > EXACT * signal
        self._before = None
        if self.is_noisy:
            self.factor = min(1.0, max(CAUTION_FIRST, NOISE_BORNE * signal / noise))

    def see(self, loss: float) -> None:
        """The training loss on the batch of a tick in which the agent steps."""
        self.forget()
        if not abs(loss) < BEYOND_ALL:
            self.factor = max(CAUTION_MIN, MUCH_SHORTER * self.factor)
            return
        if not self.is_noisy:
            return
        self._losses.append(loss)
        if len(self._losses) < WINDOW_TICKS:
            return
        mean = sum(self._losses) / WINDOW_TICKS
        variance = sum((one - mean) ** 2 for one in self._losses) / (WINDOW_TICKS - 1)
        self._losses.clear()
        if self._start is None or self._best is None or self._last is None:
            self._start = self._best = self._last = mean
            self._variance = variance
            return
        chance = CERTAIN * math.sqrt(self._variance / WINDOW_TICKS)  # before a rise adds its own
        self._variance += SPREAD_WEIGHT * (variance - self._variance)
        lost, gained = mean - self._best, self._start - self._best
        fades = BEST_FADES
        if mean >= self._last and lost > max(chance, LOST * gained):
            if not self._is_retreating:
                self._ceiling = SHORTER * self.factor
            self._is_retreating = True
            shorter = MUCH_SHORTER if gained > chance and mean > self._start + chance else SHORTER
            self.factor = max(CAUTION_MIN, shorter * self.factor)
            fades = ANSWERED_FADES
        elif lost < 0.0:
            self._is_retreating = False
            longer = LONGER if LONGER * self.factor <= self._ceiling else A_LITTLE_LONGER
            self.factor = min(1.0, longer * self.factor)
        else:
            self.factor = min(1.0, TRIES * self.factor)
        self._best = min(mean, self._best + fades * lost)
        self._last = mean

    def values(self) -> dict[str, Plain]:
        """All that was found out, for `restore`."""
        found: dict[str, Plain] = {"is_noisy": self.is_noisy, "factor": self.factor, "ceiling": self._ceiling}
        found = {**found, "is_retreating": self._is_retreating, "variance": self._variance}
        return {**found, "start": self._start, "best": self._best, "last": self._last}

    def restore(self, values: Plain) -> None:
        """Go on from there. Raises `SnapshotError`."""
        if not isinstance(values, dict):
            raise SnapshotError(f"caution is {values!r} instead of a table")
        is_noisy, variance = values.get("is_noisy"), values.get("variance")
        if not (is_noisy is None or isinstance(is_noisy, bool)):
            raise SnapshotError(f"caution: is_noisy is {is_noisy!r} instead of true, false or null")
        factor, ceiling = _share(values, "factor", CAUTION_MIN, 1.0), _share(values, "ceiling", 0.0, LONGER)
        if not isinstance(variance, int | float) or not 0.0 <= variance < math.inf:
            raise SnapshotError(f"caution: variance is {variance!r} instead of 0 or more")
        start, best, last = (_loss(values, name) for name in ("start", "best", "last"))
        self.is_noisy, self.factor, self._ceiling = is_noisy, factor, ceiling
        self._variance, self._start, self._best, self._last = float(variance), start, best, last
        self._is_retreating = values.get("is_retreating") is True


def _share(values: Mapping[str, Plain], name: str, least: float, most: float) -> float:
    value = values.get(name)
    if not isinstance(value, int | float) or not least <= value <= most:
        raise SnapshotError(f"caution: {name} is {value!r} instead of a number from {least:g} to {most:g}")
    return float(value)


def _loss(values: Mapping[str, Plain], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise SnapshotError(f"caution: {name} is {value!r} instead of a number or null")
    return float(value)
