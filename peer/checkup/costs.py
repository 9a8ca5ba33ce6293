"""What a tick of an agent with this task takes: time, memory, bytes; and what that means on a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.bench.ring import DERIVATIVES, MESSAGES, PURPOSES, VECTORS, Ring
from peer.checkup.holdings import tensor_bytes
from peer.findings import Finding, Level
from peer.speaker import BEACON_SHARE, NUMBER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings

TICKS_MIN: Final = 5
MEGABIT: Final = 1e6
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one agent that hears one other and pushes to one."""

    parameters: int
    spent_s: dict[str, float]  # of a tick, by purpose
    bytes_per_tick: float  # to one target
    messages_per_tick: float
    held_bytes: int  # in tensors, without the data

    @property
    def tick_s(self) -> float:
        """All of it."""
        return sum(self.spent_s.values())


def measure(problems: Sequence[BilevelProblem[Any]], settings: AgentSettings, seconds: float) -> Cost:
    """Two agents of these problems in one thread, for about so long once they step."""
    ring = Ring(problems, settings)
    ring.settle()
    ring.tick()
    before, ticks = dict(ring.spent_s), 0
    sent_before, messages_before = ring.sent_bytes, ring.messages
    while ticks < TICKS_MIN or sum(ring.spent_s.values()) - sum(before.values()) < seconds:
        ring.tick()
        ticks += len(problems)
    agent = ring.agents[0]
    return Cost(
        parameters=len(agent.solver.model.estimate),
        spent_s={purpose: (ring.spent_s[purpose] - before[purpose]) / ticks for purpose in PURPOSES},
        bytes_per_tick=(ring.sent_bytes - sent_before) / ticks,
        messages_per_tick=(ring.messages - messages_before) / ticks,
        held_bytes=tensor_bytes(agent, without=(Ring,)),
    )


def costs(cost: Cost, settings: AgentSettings, megabits: float) -> Iterator[Finding]:
    """What people want to know before they begin."""
    tick_ms, wanted_ms = 1e3 * cost.tick_s, 1e3 * settings.tick_s
    spent = ", ".join(f"{name} {1e3 * cost.spent_s[name]:.2g}" for name in (DERIVATIVES, VECTORS, MESSAGES))
    slow = tick_ms > wanted_ms
    yield Finding(
        Level.NOTE if slow else Level.OK,
        f"a tick takes {tick_ms:.3g} ms here",
        f"{cost.parameters:,} parameters; {spent}, the rest {1e3 * _rest(cost):.2g}",
        f"it is to begin every {wanted_ms:g} ms and cannot; a smaller batch_size or model, or a longer "
        "--tick-ms"
        if slow
        else "",
    )
    # of each four vectors as on the wire, which wait to be taken in, and two that came before
    neighbour = 6 * NUMBER_BYTES[settings.wire_dtype] * cost.parameters
    more = (settings.fanout - 1) * neighbour
    yield Finding(
        Level.OK,
        f"an agent holds about {(cost.held_bytes + more) / MIB:.3g} MiB",
        f"with {settings.fanout} neighbours, without data, PyTorch and what a batch takes for a moment",
    )
    tick_bytes = cost.bytes_per_tick * settings.fanout
    needed = 8.0 * tick_bytes / settings.tick_s / MEGABIT
    told = f"{cost.messages_per_tick:.3g} messages to each of {settings.fanout}; {needed:.3g} Mbit/s"
    if needed <= megabits:
        yield Finding(
            Level.OK, f"a tick sends {_size(tick_bytes)}", f"{told} at {settings.tick_s:g} s a tick"
        )
        return
    affordable = megabits * MEGABIT / 8.0
    every_s = tick_bytes / (affordable * (1.0 - BEACON_SHARE))
    yield Finding(
        Level.NOTE,
        f"a tick sends {_size(tick_bytes)}",
        f"{told} at {settings.tick_s:g} s a tick, more than {megabits:g}",
        f"--bytes-per-second {affordable:.0f} keeps to it, and sends each parameter every {every_s:.3g} s "
        f"instead of every tick; or --tick-ms {1e3 * tick_bytes / affordable:.0f}",
    )


def _rest(cost: Cost) -> float:
    return sum(s for name, s in cost.spent_s.items() if name not in (DERIVATIVES, VECTORS, MESSAGES))


def _size(count: float) -> str:
    for unit, divisor in (("MB", 1e6), ("KB", 1e3)):
        if count >= divisor:
            return f"{count / divisor:.3g} {unit}"
    return f"{count:.0f} bytes"
