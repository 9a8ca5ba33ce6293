"""Which messages an agent lets in. Whatever the network sends beyond them is refused by name and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import DecodeError, Push, RejectReason

if TYPE_CHECKING:
    from peer.algebra import Algebra, V
    from peer.solver import Solver
    from wire import PeerId

EPOCH_JUMP_MAX = 2**20  # a swarm bumps every few seconds at most; a larger jump is not honest
EPOCH_MAX = 2**48  # not even for who knows no epoch yet: numbers must never run out


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is and which swarm it belongs to. Messages of others are refused."""

    peer: PeerId
    swarm: str
    fingerprint: str  # of task, model and solver: agents that differ in it cannot learn together
    incarnation: int = 0  # rises with every start of the same identity
    address: str = ""  # where it listens, told to peers; "" if nowhere


def check_origin(push: Push[V], own: Identity, incarnation: int | None, epoch: int) -> None:
    """Raise `wire.DecodeError` unless the message is from a live peer of this swarm, for about this epoch.

    `incarnation` is the newest known of the sender, None if it is not believed alive; `epoch` is 0 before the
    first.
    """
    if push.swarm != own.swarm:
        raise DecodeError(RejectReason.WRONG_SWARM, f"swarm is {push.swarm!r}, ours {own.swarm!r}")
    if push.fingerprint != own.fingerprint:
        found = f"fingerprint is {push.fingerprint!r}, ours {own.fingerprint!r}"
        raise DecodeError(RejectReason.WRONG_FINGERPRINT, found)
    if push.sender == own.peer:
        raise DecodeError(RejectReason.OWN_MESSAGE, "sender is this agent itself")
    if incarnation is None or push.incarnation < incarnation:
        found = f"sender {push.sender!r} incarnation {push.incarnation} is not known"
        raise DecodeError(RejectReason.UNKNOWN_SENDER, found)
    if not 1 <= push.epoch <= (min(epoch + EPOCH_JUMP_MAX, EPOCH_MAX) if epoch else EPOCH_MAX):
        raise DecodeError(RejectReason.EPOCH_JUMP, f"epoch is {push.epoch}, ours {epoch}")


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
