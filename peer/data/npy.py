"""One array from the bytes of a .npy file, which anybody may have written. Nothing is ever unpickled."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLD_MAX: Final = 80  # characters of what somebody has written there, in an error
_READ_HEADER: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(data: bytes) -> NDArray[Any]:
    """The array, after a look at what its header promises: it takes no more memory than the bytes have.

    Raises ValueError, whose text says what the array is or holds, and what to give.
    """
    stored = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stored)
    except ValueError:
        raise ValueError("is no .npy file; save it with numpy.save") from None
    read = _READ_HEADER.get(version)
    if read is None:
        raise ValueError(f"is of version {version}; save plain numbers with numpy.savez")
    try:
        shape, _, dtype = read(stored)
    except Exception as error:  # a header is a literal of Python: there are many ways in which it is none
        told = " ".join(str(error).split())[:TOLD_MAX]
        raise ValueError(f"has a header that cannot be read: {told}; save it with numpy.save") from None
    if dtype.hasobject:
        raise ValueError("holds Python objects; save numbers, or words as numpy.str_")
    if dtype.itemsize == 0:
        raise ValueError("holds elements of no size; save numbers")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(data) - stored.tell():
        told = (
            f"promises shape {str(shape)[:TOLD_MAX]} of {str(dtype)[:TOLD_MAX]}, which is not what is there"
        )
        raise ValueError(f"{told}; save it again")
    stored.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(stored, allow_pickle=False)
    return found
