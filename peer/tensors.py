"""Torch on one side, dictionaries of named tensors and wire arrays on the other."""

from __future__ import annotations

import math
import sys
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from peer.algebra import Algebra
from peer.errors import ProblemError
from wire import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from peer.algebra import Span
    from peer.settings import WireDtype
    from peer.snapshot import Plain

assert sys.byteorder == "little", "wire arrays are little-endian; big-endian machines are not supported"

_WIRE_NAMES: Mapping[torch.dtype, Literal["<f4", "<f8"]] = {torch.float32: "<f4", torch.float64: "<f8"}
PIECE: Final = 2**14  # elements: several fit the cache that one core has for itself
_WIRE_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TensorAlgebra(Algebra[Tensor]):
    """`peer.algebra.Algebra` for torch tensors: mass in float64, the wire in float32 or float64.

    In place, one piece after the other: what comes in between never leaves the processor's cache, and nothing
    as long as the model is allocated. Element by element the results are those of the operators.
    """

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

    def norm_of_multiple(self, vector: Tensor, factor: float | Tensor) -> float:
        """As in `Algebra`, but for rounding; `factor` may be a vector where settings are compared."""
        if isinstance(factor, Tensor):
            return self.norm(vector * factor)
        return abs(factor) * self.norm(vector)

    def dot(self, one: Tensor, other: Tensor) -> float:
        """Inner product."""
        return float(torch.dot(one, other))

    def is_finite(self, vector: Tensor) -> bool:
        """A finite sum proves finite elements in one pass; only sums that are not are looked at again."""
        return math.isfinite(float(vector.sum())) or bool(torch.isfinite(vector).all())

    def spacing(self, vector: Tensor) -> float:
        """Distance to the next number of the wire's dtype, at the largest magnitude."""
        least, most = torch.aminmax(vector)
        largest = max(-least, most).to(self.wire_dtype).numpy()
        return float(np.spacing(largest))

    # ---- in place

    def assign(self, target: Tensor, vector: Tensor) -> None:
        """As in `Algebra`."""
        target.copy_(vector)

    def add(self, target: Tensor, vector: Tensor, factor: float = 1) -> None:
        """As in `Algebra`."""
        for total, piece in _pieces(target, vector):
            total.add_(piece if factor == 1 else piece.to(torch.float64) * factor)

    def add_to_block(self, target: Tensor, span: Span, vector: Tensor) -> None:
        """As in `Algebra`."""
        target[span].add_(vector)

    def divide(self, target: Tensor, divisor: float) -> None:
        """As in `Algebra`."""
        target.div_(divisor)

    def exchange(self, target: Tensor, old: Tensor, new: Tensor) -> None:
        """As in `Algebra`."""
        room = _room(target)
        for total, before, after in _pieces(target, old, new):
            change = room[: len(total)].copy_(after)
            total.add_(change.sub_(before))
            before.copy_(after)

    def average(
        self,
        estimate: Tensor,
        velocity: Tensor,
        heard: Sequence[tuple[Span, Sequence[Tensor]]],
        *,
        measure: bool,
    ) -> float:
        """As in `Algebra`."""
        square = 0.0
        covered = sorted([*heard, (slice(len(estimate), len(estimate)), ())], key=lambda one: one[0].start)
        end = 0
        for span, others in covered:
            for at, told in ((slice(end, span.start), ()), (span, others)):
                if at.stop > at.start:
                    square += _averaged(estimate[at], velocity[at], told, measure=measure)
            end = max(end, span.stop)
        return math.sqrt(square)

    def descend(
        self,
        point: Tensor,
        gradient: Tensor,
        tracker: Tensor,
        put_in: Tensor,
        size: float,
        target: Tensor,
    ) -> None:
        """As in `Algebra`."""
        room = _room(target)
        for end, start, fresh, held, before in _pieces(target, point, gradient, tracker, put_in):
            step = torch.sub(held, before, out=room[: len(end)])
            torch.sub(start, step.add_(fresh).mul_(size), out=end)

    def accelerate(self, velocity: Tensor, momentum: float, start: Tensor, end: Tensor) -> None:
        """As in `Algebra`."""
        room = _room(velocity)
        for speed, first, last in _pieces(velocity, start, end):
            speed.mul_(momentum).add_(torch.sub(last, first, out=room[: len(speed)]))

    def announce_sum(self, one: Tensor, other: Tensor, span: Span) -> Tensor:
        """As in `Algebra`."""
        first, second = one[span], other[span]
        announced = torch.empty(len(first), dtype=self.wire_dtype)
        room = _room(first)
        for told, some, more in _pieces(announced, first, second):
            told.copy_(torch.add(some, more, out=room[: len(told)]))
        return announced

    def announce_share(self, held: Tensor, pushed: Tensor, span: Span, copies: int) -> Tensor:
        """As in `Algebra`."""
        rest, total = held[span], pushed[span]
        announced = torch.empty(len(rest), dtype=self.wire_dtype)
        room = _room(rest)
        for told, kept, before in _pieces(announced, rest, total):
            after = torch.div(kept, copies + 1, out=room[: len(told)])
            told.copy_(after.add_(before))
            kept.sub_(after.copy_(told).sub_(before).mul_(copies))
            before.copy_(told)
        return announced

    def grown(self, announced: Tensor, before: Tensor | None) -> Tensor:
        """As in `Algebra`."""
        total = announced.to(torch.float64, copy=True)
        return total if before is None else total.sub_(before)


def _room(vector: Tensor) -> Tensor:
    """For what comes in between."""
    return torch.empty(min(len(vector), PIECE), dtype=torch.float64)


def _pieces(*vectors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of vectors of equal length, piece by piece."""
    if len(vectors[0]) <= PIECE:
        return iter((vectors,))
    return zip(*(torch.split(vector, PIECE) for vector in vectors), strict=True)


def _averaged(estimate: Tensor, velocity: Tensor, heard: Sequence[Tensor], *, measure: bool) -> float:
    """`TensorAlgebra.average` of one span; the square of the way, if it is measured."""
    square = 0.0
    room = _room(estimate)
    for at, speed, *others in _pieces(estimate, velocity, *heard):
        before = room[: len(at)].copy_(at) if measure else None
        at.add_(speed)
        for other in others:
            at.add_(other)
        if others:
            at.div_(len(others) + 1)
        if before is not None:
            before.sub_(at)
            square += float(torch.dot(before, before))
    return square


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


def to_array(vector: Tensor) -> Array:
    """A contiguous CPU tensor as a wire array, without a copy."""
    return Array(_WIRE_NAMES[vector.dtype], vector.numpy().data.cast("B"))


def from_array(array: Array) -> Tensor:
    """A wire array as a tensor. Shares memory if the array's buffer is writable, else copies."""
    elements = np.frombuffer(array.data, dtype=array.dtype)
    return torch.from_numpy(elements if elements.flags.writeable else elements.copy())
