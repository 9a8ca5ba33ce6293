"""Traces for tests: agents that leave them, and what replaying them finds."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from peer.hunt.trial import Trial
from peer.hunt.world import draw
from peer.trace.files import Traces
from peer.trace.records import MAGIC, Input, Reader, pack, pack_input
from peer.trace.replay import Replayed, replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peer.hunt.trial import Verdict

MANY_BYTES = 10**9
GIVEN = {"kind": "given"}


def quiet(line: str) -> None:
    """For traces that have nothing to say."""
    raise AssertionError(line)


def hunted(
    seed: int, folder: Path, *, bytes_max: int = MANY_BYTES, say: Callable[[str], None] = quiet
) -> Verdict:
    """One random world; a trace of every life in it."""
    world = draw(seed)
    trial = Trial(world)
    origin = {"kind": "hunt", "seed": seed, "without": []}
    trial.traces = Traces(folder, origin, world.names, only=None, bytes_max=bytes_max, is_real=False, say=say)
    verdict = trial.run()
    trial.traces.close()
    return verdict


def replayed(path: Path, problem: Any = None, **more: Any) -> Replayed:
    with path.open("rb") as file:
        return replay(file, problem, **more)


def contents(path: Path) -> tuple[dict[str, Any], bytes | None, list[Input]]:
    """Beginning, state and inputs of an undamaged file."""
    with path.open("rb") as file:
        reader = Reader(file)
        reader.open()
        inputs = list(reader.inputs())
    assert not reader.cut
    assert not reader.damaged
    return reader.beginning, reader.state, inputs


def rewritten(beginning: dict[str, Any], state: bytes | None, inputs: list[Input]) -> io.BytesIO:
    """A file of these, every check right."""
    parts = [MAGIC, pack("beginning", beginning)]
    if state is not None:
        parts.append(pack("state", state))
    return io.BytesIO(b"".join([*parts, *map(pack_input, inputs)]))
