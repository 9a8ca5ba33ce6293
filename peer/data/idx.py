"""IDX files, as MNIST, Fashion-MNIST and EMNIST come in: from bytes to images and labels.

Format (LeCun, Cortes, Burges): two zero bytes, one for the type (8: unsigned bytes), one for the number of
dimensions, then every dimension as a big-endian uint32, then the values in C order.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from peer.data.labelled import LabelledData
from peer.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNSIGNED_BYTE: Final = 8
DIMENSIONS_MAX: Final = 3
HEADER_BYTES_MAX: Final = 4 + 4 * DIMENSIONS_MAX
CONTENT_BYTES_MAX: Final = 2**31  # EMNIST by class has 548 MB of images; a header cannot ask for more memory
SIDE_MAX: Final = 1024  # pixels


def file_bytes(header: bytes, file: str) -> int:
    """How long the file must be, from its first `HEADER_BYTES_MAX` bytes. Raises `SettingError`."""
    return _layout(header, file)[0]


def parse_idx(data: bytes, file: str) -> NDArray[np.uint8]:
    """The array in these bytes, which it refers to. Raises `SettingError` naming file, problem and remedy."""
    promised, shape = _layout(data[:HEADER_BYTES_MAX], file)
    if len(data) != promised:
        is_short = len(data) < promised
        there = f"{len(data)} bytes are there" if is_short else "more is there"
        told = "it was cut short" if is_short else "it is none, or damaged"
        sizes = " x ".join(map(str, shape))
        _refuse(file, f"its header promises {promised} bytes ({sizes}), {there}: {told}; fetch it again")
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def labelled_images(
    images: tuple[bytes, str],
    labels: tuple[bytes, str],
    names: tuple[str, ...],
    *,
    transposed: bool = False,
) -> LabelledData:
    """Images (n, rows, columns) uint8 with their labels, of bytes and file names.

    `transposed`: rows and columns are exchanged in the file, as in EMNIST. Raises `SettingError`.
    """
    pixels, numbers = parse_idx(*images), parse_idx(*labels)
    if pixels.ndim != 3:
        _refuse(images[1], f"it has {pixels.ndim} dimensions, images have 3; are the files exchanged?")
    if numbers.ndim != 1:
        _refuse(labels[1], f"it has {numbers.ndim} dimensions, labels have 1; are the files exchanged?")
    if not all(1 <= side <= SIDE_MAX for side in pixels.shape[1:]):
        sizes = " x ".join(map(str, pixels.shape[1:]))
        _refuse(images[1], f"its images are {sizes} pixels; give images of 1 to {SIDE_MAX} each way")
    if len(pixels) != len(numbers) or len(pixels) == 0:
        remedy = f"it has {len(numbers)} labels for {len(pixels)} images; give files that belong together"
        _refuse(labels[1], remedy)
    if int(numbers.max()) >= len(names):
        place = int(np.flatnonzero(numbers >= len(names))[0])
        remedy = f"label {place} is {int(numbers[place])}, this data set has 0 to {len(names) - 1}"
        _refuse(labels[1], f"{remedy}; give the files of the data set that --task names")
    if transposed:
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1))
    return LabelledData(pixels, numbers.astype(np.int64), names)


def joined(first: LabelledData, second: LabelledData, file: str) -> LabelledData:
    """Both, one after the other; `file` names the images of the second. Raises `SettingError`."""
    if first.inputs.shape[1:] != second.inputs.shape[1:]:
        own, other = (" x ".join(map(str, one.inputs.shape[1:])) for one in (second, first))
        _refuse(
            file, f"its images are {own} pixels, those beside it {other}; give files that belong together"
        )
    pixels: NDArray[Any] = np.concatenate([first.inputs, second.inputs])
    return LabelledData(pixels, np.concatenate([first.labels, second.labels]), first.names)


def _layout(header: bytes, file: str) -> tuple[int, tuple[int, ...]]:
    """Length of the whole file and shape of the array."""
    if len(header) < 4 or header[:2] != b"\0\0":
        _refuse(file, f"it begins with {header[:4].hex(' ') or 'nothing'}: it is no IDX file; give one")
    kind, dimensions = header[2], header[3]
    if kind != UNSIGNED_BYTE:
        _refuse(file, f"its values are of type {kind:#04x}; give an IDX file of unsigned bytes (0x08)")
    if not 1 <= dimensions <= DIMENSIONS_MAX:
        _refuse(file, f"it has {dimensions} dimensions; give images (3) or labels (1)")
    begins = 4 + 4 * dimensions
    if len(header) < begins:
        _refuse(
            file, f"it ends after {len(header)} bytes, within its header: it was cut short; fetch it again"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:begins])
    content = 1
    for size in shape:
        content *= size
    if content > CONTENT_BYTES_MAX:
        _refuse(file, f"its header promises {content} bytes, more than {CONTENT_BYTES_MAX}: it is damaged")
    return begins + content, shape


def _refuse(file: str, remedy: str) -> NoReturn:
    raise SettingError("data_dir", file, remedy)
