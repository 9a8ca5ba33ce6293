"""Which messages an agent lets in. Whatever the network sends beyond them is refused by name and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import DecodeError, Push, RejectReason, peer_mark

if TYPE_CHECKING:
    from peer.algebra import Algebra, V
    from peer.solver import Solver
    from wire import PeerId

EPOCH_JUMP_MAX = 2**20  # a swarm bumps every few seconds at most; a larger jump is taken in steps
EPOCH_GAP_MAX = 2**30  # liars may have driven a swarm apart by some jumps; what is farther is not honest
EPOCH_MAX = 2**48  # not even for who knows no epoch yet: numbers must never run out
SENDERS_MAX = 1024  # twice as many as can be alive
RAISES_AT_ONCE = 4.0  # epochs that one sender may announce in a row: messages of several epochs may be late


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is and which swarm it belongs to. Messages of others are refused."""

    peer: PeerId
    swarm: str
    fingerprint: str  # of task, model and solver: agents that differ in it cannot learn together
    incarnation: int = 0  # rises with every start of the same identity
    address: str = ""  # where it listens, told to peers; "" if nowhere


def check_origin(push: Push[V], own: Identity, epoch: int) -> None:
    """Raise `wire.DecodeError` unless the message is from this swarm, for this agent, for about this epoch.

    `epoch` is the own one, 0 before the first. A message without arrays may be of no epoch.
    """
    if push.swarm != own.swarm:
        raise DecodeError(RejectReason.WRONG_SWARM, f"swarm is {push.swarm!r}, ours {own.swarm!r}")
    if push.fingerprint != own.fingerprint:
        found = f"fingerprint is {push.fingerprint!r}, ours {own.fingerprint!r}"
        raise DecodeError(RejectReason.WRONG_FINGERPRINT, found)
    if push.sender == own.peer:
        raise DecodeError(RejectReason.OWN_MESSAGE, "sender is this agent itself")
    if push.targets and peer_mark(own.peer) not in push.targets:
        found = f"what {push.sender!r} says here is for {len(push.targets)} others"
        raise DecodeError(RejectReason.NOT_FOR_US, found)
    lowest = 1 if push.arrays else 0
    if not lowest <= push.epoch <= (min(epoch + EPOCH_GAP_MAX, EPOCH_MAX) if epoch else EPOCH_MAX):
        raise DecodeError(RejectReason.EPOCH_JUMP, f"epoch is {push.epoch}, ours {epoch}")


def check_member(push: Push[V], incarnation: int | None) -> None:
    """Raise `wire.DecodeError` unless the sender is alive in this incarnation, None if it is not alive."""
    if push.incarnation != incarnation:
        found = f"sender {push.sender!r} incarnation {push.incarnation} is not known"
        raise DecodeError(RejectReason.UNKNOWN_SENDER, found)


def check_arrays(push: Push[V], solver: Solver[V], algebra: Algebra[V]) -> None:
    """Raise `wire.DecodeError` unless the arrays are those of a block of our model, and finite."""
    blocks = len(solver.spans)
    if push.block >= blocks:
        raise DecodeError(RejectReason.WRONG_SHAPE, f"block is {push.block}, the model has {blocks}")
    lengths = tuple(len(array) for array in push.arrays)
    if lengths != solver.array_lengths(push.block):
        raise DecodeError(RejectReason.WRONG_SHAPE, f"arrays of block {push.block} have lengths {lengths}")
    if not all(algebra.is_finite(array) for array in push.arrays):
        raise DecodeError(RejectReason.NON_FINITE, f"arrays of block {push.block} are not finite")


class EpochRate:
    """The highest epoch told by members, and how often one of them may raise it.

    So that nobody makes a swarm begin anew for ever: RAISES_AT_ONCE are free, one more after each
    `interval_s`; whoever leaves and comes back has no more of them. At most SENDERS_MAX are remembered.
    """

    def __init__(self) -> None:
        self.told = 0
        self._left: dict[PeerId, tuple[float, float]] = {}  # raises left, and when that was so

    def note(self, push: Push[V], epoch: int, interval_s: float, now: float) -> None:
        """Note what a member tells one that is in `epoch`.

        Raises `wire.DecodeError` if it raises the epoch once too often, or too far to be followed at once:
        then by EPOCH_JUMP_MAX.
        """
        reached = min(push.epoch, epoch + EPOCH_JUMP_MAX)
        if reached > self.told:
            if interval_s > 0:
                self._spend(push.sender, interval_s, now)
            self.told = reached
        if push.epoch > reached:
            raise DecodeError(RejectReason.EPOCH_JUMP, f"epoch is {push.epoch}, ours {epoch}: too far")

    def _spend(self, sender: PeerId, interval_s: float, now: float) -> None:
        left, at = self._left.get(sender, (RAISES_AT_ONCE, now))
        left = min(RAISES_AT_ONCE, left + (now - at) / interval_s)
        if left < 1.0:
            self._left[sender] = (left, now)
            raise DecodeError(RejectReason.EPOCH_RATE, f"sender {sender!r} raises the epoch too often")
        self._left.pop(sender, None)
        self._left[sender] = (left - 1.0, now)
        if len(self._left) > SENDERS_MAX:
            del self._left[next(iter(self._left))]
