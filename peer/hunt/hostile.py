"""A member that lies: it speaks as members do, says what is not so, and is gone when the troubles end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.admission import EPOCH_JUMP_MAX
from peer.hunt.fixed_point import UNITS, FixedVector
from wire import Heard, Heartbeat, Push, peer_mark

if TYPE_CHECKING:
    from peer.agent import Agent
    from wire import PeerId

LIAR: PeerId = "liar"
KINDS = ("garbage", "haste", "death", "ghosts")
IMPOSTOR = "impostor"  # of sealed worlds, see `seals`
GHOSTS = 12
LEAPS_EVERY = 5  # lies in haste, of which one goes as far as is followed at once
GARBAGE = 10**9


def speak(kind: str, target: Agent[FixedVector], now: float) -> list[Push[FixedVector]]:
    """What the liar says to this agent now."""
    beat, epoch = 1 + int(now), max(1, target.epoch)
    own = target.identity.peer
    hears = (Heard(peer_mark(own), target.membership.liveness.heartbeat, 0),)
    honest = Heartbeat(LIAR, 0, beat, "", False, hears)
    match kind:
        case "garbage":
            sign = 1 if beat % 2 else -1
            return [
                _message(target, beat, epoch, (honest,), number=sign * GARBAGE * UNITS),
            ]
        case "haste":
            leap = EPOCH_JUMP_MAX if beat % LEAPS_EVERY == 0 else 1 + beat % 1000
            return [
                _message(target, beat, epoch, (honest,)),
                _message(target, beat, epoch + leap, (honest,), number=beat * UNITS),
            ]
        case "death":
            others = tuple(
                Heartbeat(peer, (beat % 3) * 2**40, 2**50 + beat, "", beat % 2 == 0, (), ())
                for peer in target.peers.alive()[:5]
                if peer != LIAR
            )
            accusing = Heartbeat(
                LIAR, 0, beat, "", False, hears, tuple(peer_mark(one.peer) for one in others)
            )
            return [_message(target, beat, epoch, (accusing, *others))]
        case _:
            ghosts = tuple(
                Heartbeat(f"ghost-{number}", 0, beat, "", False, (None, (), hears)[number % 3])
                for number in range(GHOSTS)
            )
            half = GHOSTS // 2
            return [_message(target, beat, epoch, (honest, *part)) for part in (ghosts[:half], ghosts[half:])]


def _message(
    target: Agent[FixedVector],
    beat: int,
    epoch: int,
    digest: tuple[Heartbeat, ...],
    number: int | None = None,
) -> Push[FixedVector]:
    """A beacon; or with a number, a push that is full of it."""
    own = target.identity
    lengths = target.solver.array_lengths(0) if number is not None else ()
    return Push(
        swarm=own.swarm,
        fingerprint=own.fingerprint,
        sender=LIAR,
        incarnation=0,
        epoch=epoch,
        block=0,
        sequence=beat,
        tick=beat,
        tick_interval_s=1.0,
        address="",
        arrays=tuple(FixedVector([number or 0] * length) for length in lengths),
        targets=(peer_mark(own.peer),) if number is not None else (),
        digest=digest,
    )
