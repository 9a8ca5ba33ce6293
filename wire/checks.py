"""What a field that came from outside must be, or else a DecodeError that names it."""

import math
import reprlib
import struct
from collections.abc import Callable, Sequence
from typing import Final

from wire.errors import AddressError, DecodeError, RejectReason
from wire.messages import name_problem, parse_address

U64_MAX: Final = 2**64 - 1
FLOAT_BYTES: Final = 8


def name_of(bytes_max: int) -> Callable[[str, object], str]:
    """A reader of names of at most `bytes_max` bytes."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise malformed(name, value, "a string")
        problem = name_problem(value, bytes_max)
        if problem is not None:
            raise DecodeError(RejectReason.MALFORMED, f"{name} is {reprlib.repr(value)}: {problem}")
        return value

    return check


def count_of(minimum: int) -> Callable[[str, object], int]:
    """A reader of integers from `minimum` to U64_MAX."""

    def check(name: str, value: object) -> int:
        if type(value) is not int or not minimum <= value <= U64_MAX:
            raise malformed(name, value, f"an integer from {minimum} to {U64_MAX}")
        return value

    return check


def floats_of(count_max: int) -> Callable[[str, object], tuple[float, ...]]:
    """A reader of at most `count_max` finite floats, as `pack_floats` writes them."""

    def check(name: str, value: object) -> tuple[float, ...]:
        if not isinstance(value, bytes) or len(value) % FLOAT_BYTES or len(value) > count_max * FLOAT_BYTES:
            raise malformed(name, value, f"at most {count_max} floats of {FLOAT_BYTES} bytes")
        floats: tuple[float, ...] = struct.unpack(f"<{len(value) // FLOAT_BYTES}d", value)
        if not all(map(math.isfinite, floats)):
            raise DecodeError(RejectReason.NON_FINITE, f"{name} is {reprlib.repr(floats)}: not finite")
        return floats

    return check


def pack_floats(values: Sequence[float]) -> bytes:
    """Little-endian float64, one after the other."""
    return struct.pack(f"<{len(values)}d", *values)


def check_interval(name: str, value: object) -> float:
    """A duration."""
    if not isinstance(value, float) or not math.isfinite(value) or value <= 0:
        raise malformed(name, value, "a finite float above 0")
    return value


def check_address(name: str, value: object) -> str:
    """HOST:PORT, or nothing."""
    if not isinstance(value, str):
        raise malformed(name, value, "a string")
    if value:
        try:
            parse_address(value)
        except AddressError as error:
            raise DecodeError(RejectReason.MALFORMED, str(error)) from None
    return value


def malformed(name: str, value: object, expected: str) -> DecodeError:
    """A value that cannot be meant."""
    # reprlib bounds what a stranger can put into our logs, in length and in depth.
    return DecodeError(RejectReason.MALFORMED, f"{name} is {reprlib.repr(value)}: expected {expected}")


def oversized(name: str, value: int, maximum: int) -> DecodeError:
    """More than we read."""
    return DecodeError(RejectReason.OVERSIZED, f"{name} is {value}: at most {maximum} is read")
