"""What of an agent's words goes out, and in whose place it waits: one rule for real and simulated links."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from peer.events import EpochEntered

if TYPE_CHECKING:
    from peer.algebra import V
    from peer.events import Event
    from wire import Push

BEACON: Final = -1  # in the place of a block: beacons replace beacons only


class Outlet:
    """Of one agent in one life."""

    def __init__(self) -> None:
        self._goodbyes = 0  # said so far: each has a place of its own, so that none replaces another

    def place(self, push: Push[V]) -> int:
        """Where a message waits for a busy link. What is put into the same place later replaces it."""
        if push.arrays:
            return push.block
        place = BEACON - self._goodbyes
        self._goodbyes += push.digest[0].left
        return place


def has_happened(event: Event, durable_epoch: int) -> bool:
    """Whether it is told to anybody: an epoch that the disk refused, and was given up, was never entered."""
    return not isinstance(event, EpochEntered) or event.epoch <= durable_epoch


def sayable(push: Push[V], durable_epoch: int) -> Push[V] | None:
    """In an epoch that could not be made durable only that the agent lives, or leaves: as one in no epoch."""
    if push.epoch <= durable_epoch:
        return push
    return None if push.arrays else replace(push, epoch=0)
