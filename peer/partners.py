"""With whom one agent shares the mass of an epoch, and what about them asks for the next epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from peer.algebra import V
    from peer.inbox import Inbox
    from peer.membership import Membership
    from wire import PeerId, Push

LONELY_DOUBLINGS_MAX = 10


class Partners:
    """Whom mass of this epoch went to or came from, by incarnation.

    An epoch founded apart has a list of founders, and others wait for the next one: two swarms, or a swarm
    and a newcomer, may have founded the same number, and what has come further must not be averaged with a
    model at its start. A message not absorbed is a message lost: nothing is wrong by it once the next epoch
    has begun, and there the one that is behind listens first.
    """

    def __init__(self) -> None:
        self.met_anyone = False  # in any epoch
        self._known: dict[PeerId, int] = {}
        self._founders: frozenset[PeerId] | None = None
        self._stranger_waits = False
        self._pushed_at = 0.0  # when a message was absorbed last, or the epoch began
        self._lonely_epochs = 0

    def begin(self, targets: Iterable[PeerId], membership: Membership, now: float) -> None:
        """A new epoch: mass is shared with these targets."""
        self._known = {peer: membership.peers.incarnation(peer) or 0 for peer in targets}
        self._founders = None
        self._stranger_waits = False
        self._pushed_at = now

    def found(self, founders: Iterable[PeerId]) -> None:
        """This epoch was founded apart."""
        self._founders = frozenset(founders)

    def admit(self, pushes: list[Push[V]], membership: Membership, now: float) -> list[Push[V]]:
        """Those of them that may be absorbed; their senders are partners from now on."""
        if self._founders is not None:
            admitted = [push for push in pushes if push.sender in self._founders]
            if len(admitted) < len(pushes):
                self._stranger_waits = membership.changed = True
            pushes = admitted
        for push in pushes:
            self._known[push.sender] = push.incarnation
            membership.time(push)
        if pushes:
            self.met_anyone = True
            self._pushed_at, self._lonely_epochs = now, 0
        return pushes

    def ask_to_listen(self, heard: int, epoch: int, inbox: Inbox[V], ticks: int) -> bool:
        """Whether an agent in `epoch` must listen before it enters one that it has heard of.

        Far behind, and more than one says so; or alone so far, for `ticks`, while others have come further.
        """
        if self.met_anyone:
            return heard > epoch + 1 and inbox.senders(heard) > 1
        return heard > epoch + 1 or inbox.highest_tick() > ticks

    def are_wrong(self, membership: Membership) -> bool:
        """Whether one is no more or is shunned, or somebody waits to become one."""
        return self._stranger_waits or any(
            membership.peers.incarnation(peer) != incarnation or membership.is_shunned(peer)
            for peer, incarnation in self._known.items()
        )

    def are_missing(self, membership: Membership, patience_s: float, now: float) -> bool:
        """Whether none of those that should push to this agent in this epoch has been heard for too long.

        They find it deaf and leave it out; the next draw gives others. The patience doubles each time.
        """
        patience_s *= 2.0 ** min(self._lonely_epochs, LONELY_DOUBLINGS_MAX)
        if not membership.is_out_of_reach(self._pushed_at, patience_s, now):
            return False
        self._lonely_epochs += 1
        return True
