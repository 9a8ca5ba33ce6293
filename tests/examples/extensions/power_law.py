"""A partition: few agents have most of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from peer.errors import SettingError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


class PowerLaw:
    """Agent i, in random order, has a share of the samples in proportion to 1 / (i + 1)^TEXT, at random."""

    def __init__(self, text: str = "1") -> None:
        try:
            self._exponent = float(text)
        except ValueError:
            self._exponent = float("nan")
        if not 0 <= self._exponent <= 10:
            raise SettingError("partition", text, "give an exponent from 0 to 10, such as power-law:1.5")

    def __call__(
        self, labels: NDArray[np.int64], agents: int, generator: Generator
    ) -> list[NDArray[np.int64]]:
        """Labels do not matter."""
        weights = generator.permutation(1.0 / np.arange(1, agents + 1) ** self._exponent)
        edges = np.round(np.cumsum(weights)[:-1] / weights.sum() * len(labels)).astype(int)
        return np.split(generator.permutation(len(labels)), edges)
