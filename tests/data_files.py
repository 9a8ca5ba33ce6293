"""Data files for tests: small, of any shape, right or wrong."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peer.data.files import IMAGE_SETS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FASHION_MNIST = IMAGE_SETS["fashion-mnist"].places[0]
needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason=f"{FASHION_MNIST} is not there: apt install dataset-fashion-mnist"
)


def idx(array: NDArray[Any], kind: int = 8) -> bytes:
    """As the format says, with any type in its header."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def images_of(labels: NDArray[np.int64], side: int = 8) -> NDArray[np.uint8]:
    """What is easily learned: the label decides which rows are bright, on a noisy ground."""
    noise = np.random.default_rng(len(labels)).integers(0, 60, (len(labels), side, side))
    bright = (np.arange(side)[None, :, None] + labels[:, None, None]) % 5 == 0
    return np.where(bright, 255 - noise, noise).astype(np.uint8)


def write_set(
    folder: Path,
    *,
    counts: tuple[int, int] = (600, 200),
    classes: int = 10,
    side: int = 8,
    names: tuple[str, str] = ("train", "t10k"),
    zipped: bool = False,
) -> None:
    """A whole data set in four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for count, name in zip(counts, names, strict=True):
        labels = np.arange(count) % classes
        for kind, array in (("images-idx3", images_of(labels, side)), ("labels-idx1", labels)):
            path = folder / f"{name}-{kind}-ubyte{'.gz' * zipped}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))


def write_npz(path: Path, count: int = 40, **more: Any) -> None:
    """An .npz file of two separable classes."""
    drawn = np.random.default_rng(count)
    found: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        labels = np.arange(count) % 2
        found[f"x_{part}"] = drawn.normal(size=(count, 3)) + 4 * labels[:, None] - 2
        found[f"y_{part}"] = labels
    np.savez(path, **{**found, **more})
