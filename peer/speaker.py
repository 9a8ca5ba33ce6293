"""What an agent says: messages with its name on them, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.budget import ByteBudget
from wire import Push, peer_mark
from wire.messages import TARGETS_TOLD_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from peer.admission import Identity
    from peer.orders import BlockPush
    from peer.settings import AgentSettings
    from wire import Heartbeat, PeerId

ENVELOPE_BYTES = 350  # of a message beside what is listed below, its keys and framing included
HEARTBEAT_BYTES, HEARD_BYTES, MARK_BYTES, FLOAT_BYTES = 40, 18, 8, 8
BEACON_SHARE = 0.25  # of the budget: signs of life must not starve blocks, nor blocks them
BEACON_BYTES = 1200  # a usual one
NUMBER_BYTES = {"float32": 4, "float64": 8}


def addressed(beacon: Push[V], targets: Sequence[PeerId]) -> Iterator[tuple[tuple[PeerId, ...], Push[V]]]:
    """The same words for each of these peers, in as few messages as can name them all."""
    for begin in range(0, len(targets), TARGETS_TOLD_MAX):
        told = tuple(targets[begin : begin + TARGETS_TOLD_MAX])
        yield told, replace(beacon, targets=tuple(sorted(map(peer_mark, told))))


class Speaker(Generic[V]):
    """Makes messages and keeps to the budget of bytes."""

    def __init__(self, identity: Identity, settings: AgentSettings, now: float) -> None:
        self.identity = identity
        self._is_capped = settings.bytes_per_second > 0
        self._number_bytes = NUMBER_BYTES[settings.wire_dtype]
        self._blocks = ByteBudget(settings.bytes_per_second * (1.0 - BEACON_SHARE), now)
        self._beacons = ByteBudget(settings.bytes_per_second * BEACON_SHARE, now)

    def beacon(
        self, *, epoch: int, tick: int, tick_interval_s: float, digest: tuple[Heartbeat, ...]
    ) -> Push[V]:
        """A message without arrays; whom it is for is still to be said, see `addressed` and `pushes`."""
        own = self.identity
        return Push(
            swarm=own.swarm,
            fingerprint=own.fingerprint,
            sender=own.peer,
            incarnation=own.incarnation,
            epoch=epoch,
            block=0,
            sequence=1,
            tick=tick,
            tick_interval_s=tick_interval_s,
            address=own.address,
            arrays=(),
            digest=digest,
        )

    @staticmethod
    def pushes(
        template: Push[V], targets: Iterable[PeerId], blocks: Iterable[BlockPush[V]]
    ) -> tuple[Push[V], ...]:
        """One message per block. The first carries all news, the others only the sender's own heartbeat."""
        marks = tuple(sorted(map(peer_mark, targets)))
        return tuple(
            [
                Push(
                    template.swarm,
                    template.fingerprint,
                    template.sender,
                    template.incarnation,
                    template.epoch,
                    block.block,
                    block.sequence,
                    template.tick,
                    template.tick_interval_s,
                    template.address,
                    block.arrays,
                    marks,
                    template.digest[: None if index == 0 else 1],
                    block.averages,
                )
                for index, block in enumerate(blocks)
            ]
        )

    def blocks_affordable(self, numbers: int, blocks: int, copies: int, now: float) -> int:
        """How many of `blocks` blocks of so many numbers may be pushed to `copies` targets."""
        cost = (BEACON_BYTES + numbers * self._number_bytes) * copies
        return self._blocks.affordable(cost, blocks, now)

    def beacons_affordable(self, wanted: int, now: float) -> int:
        """How many peers may be told now that this agent lives."""
        return self._beacons.affordable(BEACON_BYTES, wanted, now)

    def spend(self, push: Push[V], copies: int) -> None:
        """This is being sent to so many targets."""
        if self._is_capped:
            budget = self._blocks if push.arrays else self._beacons
            budget.spend(copies * self.cost(push))

    def cost(self, push: Push[V]) -> int:
        """Bytes on the wire, about."""
        numbers = sum(len(array) for array in push.arrays)
        told = sum(
            HEARTBEAT_BYTES
            + len(heartbeat.peer)
            + len(heartbeat.address)
            + HEARD_BYTES * len(heartbeat.hears or ())
            + MARK_BYTES * len(heartbeat.accuses)
            for heartbeat in push.digest
        )
        told += FLOAT_BYTES * len(push.averages)
        return ENVELOPE_BYTES + told + MARK_BYTES * len(push.targets) + numbers * self._number_bytes
