"""What every `wire.transport.Transport` has to hold."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from peer.conformance.common import has_what_is_asked_for, takes_its_text
from peer.conformance.loops import all_closed, in_a_loop, until
from wire import DecodeError, FaultPlan, RejectReason, link_rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire import Transport
    from wire.transport import MakeTransport

HOST: Final = "127.0.0.1"
SEED: Final = 3
MESSAGES: Final = 60
LATE_S: Final = 0.2
BUG_S: Final = 10.0  # until a bug has surfaced
LARGE: Final = 2**20  # bytes, of a block of the default size
PROTOCOL: Final = "protocol"


class _End:
    """A transport, and what has come to it: name of the sender and number, then whatever."""

    def __init__(self, make: MakeTransport, name: str, faults: FaultPlan | None = None) -> None:
        self.name = name
        self.came: list[tuple[str, int, int]] = []  # from whom, which, how long
        self.options: dict[str, Any] = {
            "peer": name,
            "listen_host": HOST,
            "listen_port": 0,
            "identity": lambda: {"peer": name, "swarm": "on trial"},
            "on_frame": self._on_frame,
            "faults": faults,
            "fault_seed": SEED,
            "clock": time.monotonic,
            "advertise_host": None,
            "advertise_port": None,
        }
        self.transport: Transport = make(**self.options)

    def _on_frame(self, frame: bytes) -> str:
        if not frame.startswith(b"frame "):
            raise DecodeError(RejectReason.MALFORMED, "no frame")
        _, sender, number, _ = bytes(frame).split(b" ", 3)
        assert frame == _frame(sender.decode(), int(number), len(frame)), "a frame is not whole"
        self.came.append((sender.decode(), int(number), len(frame)))
        return sender.decode()

    def send(self, targets: Sequence[str], number: int, *, block: int = 0, size: int = 100) -> None:
        self.transport.send(targets, block, _frame(self.name, number, size))

    @property
    def numbers(self) -> list[int]:
        return [number for _, number, _ in self.came]

    async def start(self) -> None:
        await self.transport.start()

    async def close(self) -> None:
        await self.transport.close()


def _frame(sender: str, number: int, size: int) -> bytes:
    begin = f"frame {sender} {number} ".encode()
    return begin + bytes([number % 251]) * (size - len(begin))


async def _ends(make: MakeTransport, *names: str, faults: FaultPlan | None = None) -> list[_End]:
    """Started, and each knows all others."""
    ends = [_End(make, name, faults) for name in names]
    for end in ends:
        await end.start()
    for end in ends:
        for other in ends:
            if other is not end:
                end.transport.connect(other.name, other.transport.address)
    return ends


@in_a_loop
async def it_has_what_is_asked_for(make: MakeTransport) -> None:
    """All methods of the protocol."""
    end = _End(make, "a")
    has_what_is_asked_for("transport", make, end.transport)
    await all_closed(end)


@in_a_loop
async def its_text_is_taken_or_refused_in_words(make: MakeTransport) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make, **_End(make, "a").options)


@in_a_loop
async def frames_arrive_whole_both_ways(make: MakeTransport) -> None:
    """Small ones, and as large as a block may be."""
    a, b = ends = await _ends(make, "a", "b")
    try:
        for number, size in enumerate((20, 1_000, LARGE)):
            a.send(["b"], number, block=number, size=size)
            b.send(["a"], number, block=number, size=size)
        await until(lambda: len(b.came) >= 3 <= len(a.came), "three frames arrive at each end")
        assert {length for *_, length in b.came} == {20, 1_000, LARGE}, "a frame has another length"
        assert {sender for sender, *_ in a.came} == {"b"}, "a frame has come from somebody else"
        assert a.transport.counters.sent >= 3, "what is sent is not counted"
        assert b.transport.counters.received >= 3, "what is received is not counted"
    finally:
        await all_closed(*ends)


@in_a_loop
async def the_newest_of_a_block_wins(make: MakeTransport) -> None:
    """What waits is replaced: of many, the last arrives, whatever became of the others."""
    a, b = ends = await _ends(make, "a", "b")
    try:
        for number in range(1_000):
            a.send(["b"], number, size=10_000)
        await until(lambda: bool(b.came) and b.numbers[-1] == 999, "the newest arrives")
        assert b.numbers == sorted(b.numbers), "an older one has come after a newer one of the same block"
    finally:
        await all_closed(*ends)


@in_a_loop
async def who_is_not_there_hinders_nobody(make: MakeTransport) -> None:
    """`send` neither waits nor fails, for a target never heard of, and for one that nobody answers for."""
    a, b = ends = await _ends(make, "a", "b")
    gone = _End(make, "gone")
    await gone.start()
    address = gone.transport.address
    await gone.close()
    try:
        a.transport.connect("gone", address)
        began = time.monotonic()
        for number in range(MESSAGES):
            a.send(["never", "gone", "b"], number, block=number, size=1_000)
        assert time.monotonic() - began < 5, "send waits"
        await until(lambda: len(b.came) >= MESSAGES, "all frames arrive at the one that is there")
        assert a.transport.address_of("never") is None, "address_of knows who was never connected"
        assert a.transport.address_of("b") == b.transport.address, "address_of b is not where it listens"
    finally:
        await all_closed(*ends)


@in_a_loop
async def a_peer_that_restarts_is_reached_again(make: MakeTransport) -> None:
    """Also elsewhere."""
    a, b = await _ends(make, "a", "b")
    again = _End(make, "b")
    try:
        a.send(["b"], 1)
        await until(lambda: b.numbers == [1], "a frame arrives")
        await b.close()
        a.send(["b"], 2)
        await again.start()
        a.transport.connect("b", again.transport.address)
        a.transport.redial("b")
        a.send(["b"], 3)
        await until(lambda: 3 in again.numbers, "a frame arrives at the one that has come back")
    finally:
        await all_closed(a, again)


@in_a_loop
async def who_is_disconnected_is_sent_nothing(make: MakeTransport) -> None:
    """And is not counted any more."""
    a, b, c = ends = await _ends(make, "a", "b", "c")
    try:
        a.send(["b", "c"], 1)
        await until(lambda: b.numbers == [1] and c.numbers == [1], "a frame arrives at both")
        assert set(a.transport.per_peer) == {"b", "c"}, "per_peer has others than those who are connected"
        assert a.transport.per_peer["b"].sent == 1, "per_peer counts other frames than were sent"
        assert b.transport.counters.received == 1, "one frame has come, and another number is counted"
        a.transport.disconnect("b")
        a.send(["b", "c"], 2, block=1)
        await until(lambda: c.numbers == [1, 2], "a frame arrives at the one that stays")
        assert b.numbers == [1], "a frame arrives at one that was disconnected"
        assert set(a.transport.per_peer) <= {"b", "c"}
        assert a.transport.address_of("b") is None, "address_of knows one that was disconnected"
    finally:
        await all_closed(*ends)


@in_a_loop
async def the_fault_plan_delays_and_doubles(make: MakeTransport) -> None:
    """Each copy comes, and none before its time."""
    a, b = ends = await _ends(make, "a", "b", faults=FaultPlan(delay_s=LATE_S, duplicate=1.0))
    try:
        began = time.monotonic()
        a.send(["b"], 1)
        await until(lambda: b.numbers == [1, 1], "both copies arrive")
        assert time.monotonic() - began >= LATE_S, "they come before the plan lets them"
    finally:
        await all_closed(*ends)


@in_a_loop
async def the_fault_plan_decides_what_is_lost(make: MakeTransport) -> None:
    """The very messages that the plan loses on this link, with the random stream of this link."""
    plan = FaultPlan(drop=0.4)
    rng = link_rng(SEED, "a", "b")
    arrive = [number for number in range(MESSAGES) if plan.deliveries("a", "b", 0.0, rng)]
    a, b = ends = await _ends(make, "a", "b", faults=plan)
    try:
        for number in range(MESSAGES):
            a.send(["b"], number, block=number)
            await a.transport.flush(1.0)
        await until(lambda: len(b.came) >= len(arrive), f"{len(arrive)} of {MESSAGES} frames arrive")
        assert sorted(b.numbers) == arrive, "others arrive than the plan lets through"
        assert a.transport.counters.lost_by_faults == MESSAGES - len(arrive), "what it loses is not counted"
    finally:
        await all_closed(*ends)


@in_a_loop
async def whoever_asks_learns_who_listens(make: MakeTransport) -> None:
    """`fetch_identity`: what `identity` gives, and the protocol; None where nobody is."""
    a, b = ends = await _ends(make, "a", "b")
    try:
        found = await a.transport.fetch_identity(b.transport.address, 5.0)
        assert found is not None, "nobody answers"
        assert (found.get("peer"), found.get("swarm")) == ("b", "on trial"), f"the answer is {found}"
        assert PROTOCOL in found, "the answer has no protocol"
        address = b.transport.address
        await b.close()
        assert await a.transport.fetch_identity(address, 0.5) is None, "somebody answers for who has gone"
    finally:
        await all_closed(*ends)


@in_a_loop
async def nonsense_is_counted_and_harms_nobody(make: MakeTransport) -> None:
    """A frame that the receiver refuses with `DecodeError` is counted by its reason."""
    a, b = ends = await _ends(make, "a", "b")
    try:
        a.transport.send(["b"], 0, b"nonsense")
        await until(lambda: sum(b.transport.counters.rejected.values()) == 1, "the refusal is counted")
        assert RejectReason.MALFORMED in b.transport.counters.rejected, (
            "the refusal is counted by another reason"
        )
        a.send(["b"], 1, block=1)
        await until(lambda: b.numbers == [1], "the next frame arrives")
    finally:
        await all_closed(*ends)


@in_a_loop
async def a_bug_in_the_receiver_surfaces(make: MakeTransport) -> None:
    """What `on_frame` raises, but for `DecodeError`, comes out of `wait_failed`."""
    a, b = ends = await _ends(make, "a", "b")
    waiting = asyncio.create_task(b.transport.wait_failed())
    try:
        a.transport.send(["b"], 0, b"frame with too few words")
        await asyncio.wait([waiting], timeout=BUG_S)
        assert waiting.done(), "wait_failed knows nothing of it"
        assert isinstance(waiting.exception(), ValueError), f"wait_failed raises {waiting.exception()!r}"
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await all_closed(*ends)


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    frames_arrive_whole_both_ways,
    the_newest_of_a_block_wins,
    who_is_not_there_hinders_nobody,
    a_peer_that_restarts_is_reached_again,
    who_is_disconnected_is_sent_nothing,
    the_fault_plan_delays_and_doubles,
    the_fault_plan_decides_what_is_lost,
    whoever_asks_learns_who_listens,
    nonsense_is_counted_and_harms_nobody,
    a_bug_in_the_receiver_surfaces,
)
