"""What came of an input, short enough to be kept for each, and exact: whatever differs shows.

    raised      why the input was refused, or which bug it met
    effects     [name, {field: value or digest}] for each, in order
    events      the same
    result      of `computed`: losses, hyperparameters if they are few, digests of the rest

What is empty is left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgpack

from peer.events import Compute, Send
from peer.trace import values
from wire import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.agent import Agent
    from peer.events import Effect, Event, TickResult
    from wire import Push

DIGEST_BYTES: Final = 8
SHOWN_MAX: Final = 200  # bytes of a value that is kept as it is
HYPERPARAMETERS_MAX: Final = 64  # numbers kept as they are

Outline = list[Any]


class Codec(Protocol):
    """Messages as bytes and back."""

    def encode(self, push: Push[Any], /) -> bytes:
        """All of it. May raise `wire.EncodeError` for what no newest version of the protocol can say."""

    def decode(self, frame: bytes, /) -> Push[Any]:
        """The message again."""


def digest(data: bytes) -> str:
    """A few characters that stand for bytes."""
    return hashlib.sha256(data).hexdigest()[: 2 * DIGEST_BYTES]  # processors do this one themselves


def write_push(push: Push[Any], codec: Codec | None) -> tuple[str, bytes]:
    """A message as arguments of an input; without a codec, or where it cannot say it, as a value."""
    frame = _frame(push, codec)
    return ("value", values.encode(push)) if frame is None else ("frame", frame)


def read_push(form: str, data: bytes, codec: Codec | None) -> Push[Any]:
    """The inverse of `write_push`."""
    found: Push[Any] = values.decode(data) if form == "value" or codec is None else codec.decode(data)
    return found


def _frame(push: Push[Any], codec: Codec | None) -> bytes | None:
    try:
        return None if codec is None else codec.encode(push)
    except EncodeError:  # of an older version, say
        return None


def of_error(error: Exception) -> str:
    """Why an input was refused, or which bug it has met."""
    if isinstance(error, DecodeError):
        return f"refused: {error.reason}"
    return f"{type(error).__name__}: {error}"


def of_input(
    agent: Agent[Any],
    codec: Codec | None,
    raised: str | None,
    outputs: tuple[Sequence[Effect[Any]], Sequence[Event]],
    result: TickResult[Any] | None,
) -> dict[str, object]:
    """All that came of an input; what is empty is left out. `result` is what `computed` was given."""
    effects, events = outputs
    found: dict[str, object] = {
        "raised": raised,
        "effects": [of_output(one, codec) for one in effects],
        "events": [of_output(one, codec) for one in events],
        "result": None if result is None else of_result(result, agent),
    }
    return {name: value for name, value in found.items() if value}


def of_output(one: object, codec: Codec | None) -> Outline:
    """An effect or event."""
    match one:
        case Send(targets, push):
            bare: Push[Any] = push.with_arrays(())
            shown: dict[str, object] = {
                "targets": list(targets),
                "epoch": push.epoch,
                "block": push.block,
                "sequence": push.sequence,
                "tick": push.tick,
                "arrays": _digest_of(push.arrays),
                "envelope": digest(_frame(bare, codec) or values.content(bare)),
            }
        case Compute():
            shown = {}
        case _:
            assert is_dataclass(one)
            shown = {field.name: _shown(getattr(one, field.name)) for field in fields(one)}
    return [type(one).__name__, shown]


def of_result(result: TickResult[Any], agent: Agent[Any]) -> Mapping[str, object]:
    """What a computation came to; the agent has taken it in."""
    report, solver = result.report, agent.solver
    return {
        "training_loss": report.training_loss,
        "validation_loss": report.validation_loss,
        "hypergradient_norm": report.hypergradient_norm,
        "hyperparameters": hyperparameters(solver.learner),
        "model": _digest_of([solver.model.estimate]),
        "adjoint": _digest_of([solver.adjoint.estimate]),
    }


def hyperparameters(learner: object) -> dict[str, object]:
    """Numbers by name, if there are few; else digests."""
    named: Mapping[str, Any] = getattr(learner, "hyperparameters", {})
    few = sum(one.numel() for one in named.values()) <= HYPERPARAMETERS_MAX
    return {name: one.reshape(-1).tolist() if few else _digest_of([one]) for name, one in named.items()}


def difference(expected: object, found: object, where: str = "") -> str | None:
    """The first place where two outlines differ, and both values there; None if there is none.

    To the bit: NaN equals NaN, and 0.0 is not -0.0.
    """
    if msgpack.packb(expected) == msgpack.packb(found):
        return None
    insides: list[str | None] = []
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [*(name for name in found if name not in expected), *expected]
        insides = [difference(expected.get(name), found.get(name), f"{where}{name}: ") for name in names]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (left, right) in enumerate(zip(expected, found, strict=True)):
            place = expected[0] if isinstance(left, dict) and expected[0] == found[0] else number
            insides.append(difference(left, right, f"{where}{place}: "))
    if insides:
        return next((inside for inside in insides if inside is not None), None)
    return f"{where}expected {_told(expected)}, found {_told(found)}"


def _digest_of(vectors: Sequence[object]) -> str | None:
    return digest(values.content(vectors)) if vectors else None


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return list(value)
    return digest(values.content(value))


def _told(value: object) -> str:
    """For people: kinds of outputs stand for them where their number or order differs."""
    if isinstance(value, list) and value and all(isinstance(one, list) and one for one in value):
        return ", ".join(str(one[0]) for one in value)
    if value in (None, []):
        return "nothing"
    return repr(value)[:SHOWN_MAX]
