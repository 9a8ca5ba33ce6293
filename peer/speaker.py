"""What an agent says: messages with its name on them, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.budget import ByteBudget
from wire import Push

if TYPE_CHECKING:
    from collections.abc import Iterable

    from peer.admission import Identity
    from peer.settings import AgentSettings
    from peer.solver import BlockPush
    from wire import Heartbeat

HEADER_BYTES = 600  # of a usual message
NUMBER_BYTES = {"float32": 4, "float64": 8}


class Speaker(Generic[V]):
    """Makes messages and keeps to the budget of bytes."""

    def __init__(self, identity: Identity, settings: AgentSettings, now: float) -> None:
        self.identity = identity
        self._number_bytes = NUMBER_BYTES[settings.wire_dtype]
        self._budget = ByteBudget(settings.bytes_per_second, now)

    def beacon(
        self, *, epoch: int, tick: int, tick_interval_s: float, digest: tuple[Heartbeat, ...]
    ) -> Push[V]:
        """A message without arrays, for anybody; with arrays and targets it is a push, see `pushes`."""
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
        template: Push[V], targets: tuple[bytes, ...], blocks: Iterable[BlockPush[V]]
    ) -> tuple[Push[V], ...]:
        """One message per block. The first carries all news, the others only the sender's own heartbeat."""
        return tuple(
            replace(
                template,
                block=block.block,
                sequence=block.sequence,
                arrays=block.arrays,
                targets=targets,
                digest=template.digest[: None if index == 0 else 1],
            )
            for index, block in enumerate(blocks)
        )

    def affordable(self, block_numbers: int, blocks: int, copies: int, now: float) -> int | None:
        """How many of `blocks` blocks of so many numbers may be pushed to `copies` targets; None: any."""
        return self._budget.blocks(self._cost(block_numbers) * copies, blocks, now)

    def spend(self, messages: int, numbers: int = 0) -> None:
        """So many messages of so many numbers each are sent."""
        self._budget.spend(messages * self._cost(numbers))

    def _cost(self, numbers: int) -> int:
        return HEADER_BYTES + numbers * self._number_bytes
