"""Torch on one side, dictionaries of named tensors and wire arrays on the other."""

from __future__ import annotations

import math
import sys
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from peer.errors import ProblemError
from wire import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.settings import WireDtype
    from peer.snapshot import Plain

assert sys.byteorder == "little", "wire arrays are little-endian; big-endian machines are not supported"

_WIRE_NAMES: Mapping[torch.dtype, Literal["<f4", "<f8"]] = {torch.float32: "<f4", torch.float64: "<f8"}
_WIRE_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TensorAlgebra:
    """`peer.algebra.Algebra` for torch tensors: mass in float64, the wire in float32 or float64."""

    def __init__(self, wire_dtype: WireDtype = "float32") -> None:
        self.wire_dtype = _WIRE_DTYPES[wire_dtype]

    def zeros(self, size: int) -> Tensor:
        """Float64 zeros."""
        return torch.zeros(size, dtype=torch.float64)

    def ones(self, size: int) -> Tensor:
        """Float64 ones."""
        return torch.ones(size, dtype=torch.float64)

    def copy(self, vector: Tensor) -> Tensor:
        """A clone."""
        return vector.clone()

    def to_mass(self, vector: Tensor) -> Tensor:
        """Float64; exact."""
        return vector if vector.dtype is torch.float64 else vector.to(torch.float64)

    def to_wire(self, vector: Tensor) -> Tensor:
        """Rounded to the wire's dtype; always a copy."""
        return vector.to(self.wire_dtype, copy=True)

    def norm(self, vector: Tensor) -> float:
        """Euclidean length."""
        return math.sqrt(float(torch.dot(vector, vector)))

    def dot(self, one: Tensor, other: Tensor) -> float:
        """Inner product."""
        return float(torch.dot(one, other))

    def is_finite(self, vector: Tensor) -> bool:
        """A finite sum proves finite elements in one pass; only sums that are not are looked at again."""
        return math.isfinite(float(vector.sum())) or bool(torch.isfinite(vector).all())

    def spacing(self, vector: Tensor) -> float:
        """Distance to the next number of the wire's dtype, at the largest magnitude."""
        largest = vector.abs().max().to(self.wire_dtype).numpy()
        return float(np.spacing(largest))


class FlatLayout:
    """A dictionary of named tensors as one flat vector and back.

    Raises `ProblemError` for anything but a dictionary of real, finite floating-point tensors.
    """

    def __init__(self, named: Mapping[str, Tensor], what: str) -> None:
        tensors = [_checked(value, f"{what}[{name!r}]") for name, value in named.items()]
        self.names = tuple(named)
        self.shapes = tuple(tensor.shape for tensor in tensors)
        self.dtypes = tuple(tensor.dtype for tensor in tensors)
        self.counts = tuple(tensor.numel() for tensor in tensors)
        edges = [0, *accumulate(self.counts)]
        self.size = edges[-1]
        self._places = list(zip(self.names, pairwise(edges), self.shapes, self.dtypes, strict=True))
        self.dtype = torch.float32
        for dtype in self.dtypes:
            self.dtype = torch.promote_types(self.dtype, dtype)

    def flatten(self, named: Mapping[str, Tensor]) -> Tensor:
        """A new vector of shape (size,) in the widest dtype among float32 and the tensors'."""
        if not self.names:
            return torch.zeros(0, dtype=self.dtype)
        return torch.cat([named[name].detach().reshape(-1).to(self.dtype) for name in self.names])

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Named tensors in their own shapes and dtypes; views where the dtype allows."""
        return {
            name: flat[start:stop].view(shape).to(dtype) for name, (start, stop), shape, dtype in self._places
        }

    def describe(self) -> str:
        """Names, shapes and dtypes in one stable line, for the model fingerprint."""
        return ";".join(
            f"{name}:{tuple(shape)}:{dtype}"
            for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True)
        )

    def to_plain(self) -> list[Plain]:
        """Names, shapes and dtypes as JSON can hold them."""
        return [
            [name, list(shape), str(dtype).removeprefix("torch.")]
            for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True)
        ]


def _checked(value: object, where: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ProblemError(f"{where} is {type(value).__name__}; give a floating-point tensor")
    if not value.is_floating_point():
        raise ProblemError(f"{where} is {value.dtype}; give a floating-point tensor")
    if not bool(torch.isfinite(value).all()):
        raise ProblemError(f"{where} has infinite or NaN elements; give finite initial values")
    return value


def pack(arrays: Mapping[str, Tensor]) -> bytes:
    """Named tensors of any shape and dtype as one safetensors file."""
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in arrays.items()})


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors of what `pack` gave; runs nothing of it."""
    return safetensors.torch.load(content)


def to_array(vector: Tensor) -> Array:
    """A contiguous CPU tensor as a wire array, without a copy."""
    return Array(_WIRE_NAMES[vector.dtype], vector.numpy().data.cast("B"))


def from_array(array: Array) -> Tensor:
    """A wire array as a tensor. Shares memory if the array's buffer is writable, else copies."""
    elements = np.frombuffer(array.data, dtype=array.dtype)
    return torch.from_numpy(elements if elements.flags.writeable else elements.copy())
