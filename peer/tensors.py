"""Torch on one side, dictionaries of named tensors and wire arrays on the other."""

from __future__ import annotations

import sys
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from peer.errors import ProblemError
from wire import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.snapshot import Plain

assert sys.byteorder == "little", "wire arrays are little-endian; big-endian machines are not supported"

_WIRE_NAMES: Mapping[torch.dtype, Literal["<f4", "<f8"]] = {torch.float32: "<f4", torch.float64: "<f8"}


class FlatLayout:
    """A dictionary of named tensors, on whatever devices, as one flat vector in main memory and back.

    Raises `ProblemError` for anything but a dictionary of real, finite floating-point tensors.
    """

    def __init__(self, named: Mapping[str, Tensor], what: str) -> None:
        tensors = [_checked(value, f"{what}[{name!r}]") for name, value in named.items()]
        self.names = tuple(named)
        self.shapes = tuple(tensor.shape for tensor in tensors)
        self.dtypes = tuple(tensor.dtype for tensor in tensors)
        self.counts = tuple(tensor.numel() for tensor in tensors)
        self._devices = tuple(tensor.device for tensor in tensors)
        edges = [0, *accumulate(self.counts)]
        self.size = edges[-1]
        self._places = list(zip(self.names, pairwise(edges), self.shapes, strict=True))
        self.dtype = torch.float32
        for dtype in self.dtypes:
            self.dtype = torch.promote_types(self.dtype, dtype)

    def flatten(self, named: Mapping[str, Tensor]) -> Tensor:
        """A new vector of shape (size,) in the widest dtype among float32 and the tensors'."""
        if not self.names:
            return torch.zeros(0, dtype=self.dtype)
        return torch.cat([named[name].detach().reshape(-1).cpu().to(self.dtype) for name in self.names])

    def flatten_into(self, named: Mapping[str, Tensor], flat: Tensor) -> Tensor:
        """The same, written over a vector of this size. Raises `ProblemError` for other shapes."""
        for name, (start, stop), shape in self._places:
            tensor = named[name].detach()
            if tensor.numel() != stop - start:
                raise ProblemError(f"{name!r} has shape {tuple(tensor.shape)} instead of {tuple(shape)}")
            flat[start:stop].copy_(tensor.reshape(-1))
        return flat

    def unflatten_into(self, flat: Tensor, named: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The elements of a vector, written over tensors of these shapes."""
        for name, (start, stop), shape in self._places:
            named[name].copy_(flat[start:stop].view(shape))
        return named

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Named tensors in their own shapes, dtypes and devices; views where dtype and device allow."""
        kinds = zip(self._places, self.dtypes, self._devices, strict=True)
        return {
            name: flat[start:stop].view(shape).to(dtype).to(device)
            for (name, (start, stop), shape), dtype, device in kinds
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


class _Writable:
    """Elements that somebody else owns, as if they could be written: torch knows no tensors that cannot."""

    def __init__(self, elements: np.ndarray[Any, Any]) -> None:
        self._elements = elements  # as long as anybody looks at them
        interface = elements.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def to_array(vector: Tensor) -> Array:
    """A contiguous CPU tensor as a wire array, without a copy."""
    return Array(_WIRE_NAMES[vector.dtype], vector.numpy().data.cast("B"))


def from_array(array: Array) -> Tensor:
    """A wire array as a tensor that shares its memory: it must not be written to."""
    return torch.from_numpy(np.asarray(_Writable(np.frombuffer(array.data, dtype=array.dtype))))
