"""A data set: inputs, labels, and columns that say more of each row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from peer.data.scheme import Scheme

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class LabelledData:
    """`inputs` (n, ...) uint8 (pixels, of which 255 means 1) or finite float32; `labels` (n,) int64.

    Labels are in [0, len(names)). A column has one word per row.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...]  # of the classes
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def digest(self) -> str:
        """Of all values and shapes; the same whether a file was compressed or not."""
        found = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for array in (self.inputs, self.labels):
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        for name in sorted(self.columns):
            found.update("\n".join([name, *self.columns[name].tolist()]).encode())
        return found.hexdigest()

    def column_for(self, scheme: Scheme) -> NDArray[np.str_] | None:
        """What `column:NAME` means here; None for any other partition. Raises `SettingError`."""
        if scheme.split != "column":
            return None
        found = self.columns.get(str(scheme.parameter))
        if found is None:
            there = f"there are {', '.join(self.columns)}" if self.columns else "these data have none"
            remedy = f"no column is called {scheme.parameter!r}; {there}"
            raise SettingError("partition", str(scheme), remedy)
        return found


def turned(images: NDArray[Any], quarters: int) -> NDArray[Any]:
    """Images (n, ..., rows, columns), turned counter-clockwise by quarters.

    Raises `SettingError` for what is no square image: every agent's inputs must have the same shape.
    """
    if quarters == 0:
        return images
    if images.ndim < 3 or images.shape[-1] != images.shape[-2]:
        shape = " x ".join(map(str, images.shape[1:]))
        raise SettingError("partition", "rotated", f"inputs of {shape} are no square images; leave it out")
    return np.ascontiguousarray(np.rot90(images, quarters, axes=(-2, -1)))
