"""Whatever arrives: views of the swarm stay bounded and consistent, and the truth wins when lies end.

Hypothesis speaks to one `Membership` as members, strangers and liars: any sender, incarnation, heartbeat and
digest, in any order, with sleep, quarantine and news by who must know in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from peer import liveness, lives, membership
from peer.admission import Identity
from peer.events import PeerArrived, PeerDeparted
from peer.introductions import is_introduction
from peer.liveness import TOLD
from peer.lives import RISES_WANTED
from peer.membership import Membership
from peer.pace import Pace
from tests.unit.driving import MODEL, SWARM, push
from tests.unit.driving import settings as agent_settings
from wire import Array, Heard, Heartbeat, decode_push, encode_push, peer_mark
from wire.messages import DIGEST_MAX, HEARS_MAX

if TYPE_CHECKING:
    import pytest

PEERS = ["a", "b", "c", "d", "e"]
LIVES_MAX, PEERS_MAX = 3, 2  # so small that the crowd is always too large
numbers = st.one_of(st.integers(0, 8), st.integers(0, 2**64 - 1))
peers = st.sampled_from(PEERS)
heards = st.builds(Heard, peers.map(peer_mark), numbers, st.integers(0, 2**16 - 1))
heartbeats = st.builds(
    Heartbeat,
    peers,
    numbers,
    numbers,
    st.sampled_from(["", "10.0.0.1:7"]),
    st.booleans(),
    st.none() | st.lists(heards, max_size=3).map(tuple),
    st.lists(peers.map(peer_mark), max_size=3).map(tuple),
)


class Views(RuleBasedStateMachine):
    """The view of b."""

    def __init__(self) -> None:
        super().__init__()
        chosen = agent_settings(expire_ticks=5.0)
        self.members = Membership(Identity("b", SWARM, MODEL), chosen, Pace(1.0))
        self.now = 0.0
        self.out: tuple[str, ...] = ()
        self.alive: set[str] = set()  # by the events told
        self.epoch = 0
        self.entered_at = 0.0

    def says(self, own: Heartbeat, others: list[Heartbeat]) -> None:
        message = push(
            own.peer,
            incarnation=own.incarnation,
            epoch=0,
            tick=own.heartbeat,
            arrays=(),
            digest=(own, *others),
        )
        arrived: Any = decode_push(encode_push(message))
        if not self.members.is_shunned(own.peer):
            self.members.receive(arrived, self.now)

    @rule(own=heartbeats, others=st.lists(heartbeats, max_size=3), copies=st.integers(1, 3))
    def message(self, own: Heartbeat, others: list[Heartbeat], copies: int) -> None:
        for _ in range(copies):
            if own.peer != "b":
                self.says(own, others)

    @rule(ticks=st.integers(1, 12))
    def ticks_pass(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1.0
            self.members.tick(self.now, self.out, self.entered_at)

    @rule(peer=peers, incarnation=st.integers(0, 3))
    def named(self, peer: str, incarnation: int) -> None:
        self.members.name(peer, incarnation, self.now)

    @rule(peer=peers)
    def found(self, peer: str) -> None:
        self.members.find(peer, self.now)

    @rule(peer=peers, incarnation=st.none() | st.integers(0, 3))
    def removed(self, peer: str, incarnation: int | None) -> None:
        self.members.remove(peer, incarnation)

    @rule(peer=st.sampled_from(PEERS[2:]))
    def caught(self, peer: str) -> None:
        self.members.quarantine(peer, "a jump", self.now)

    @rule(peer=st.sampled_from(PEERS[2:]), incarnation=numbers, first=numbers)
    def rumour(self, peer: str, incarnation: int, first: int) -> None:
        """A member has others believe in this incarnation of a peer."""
        for speaker in self.members.believed()[:1]:
            life = self.members.liveness.lives.get(speaker)
            spoken = (0, 0) if life is None else (life.vouched, life.heard_heartbeat)
            for step in range(1, RISES_WANTED + 1):
                self.now += 1.0
                self.members.liveness.beat(self.now)
                own = Heartbeat(speaker, max(0, spoken[0]), min(2**64 - 1, max(0, spoken[1]) + step))
                self.says(own, [Heartbeat(peer, incarnation, min(2**64 - 1, first + step))])

    @rule(seconds=st.floats(0.0, 1e6), own=heartbeats)
    def slept(self, seconds: float, own: Heartbeat) -> None:
        """A message may come in before the clock is looked at."""
        self.now += seconds
        if own.peer != "b":
            self.says(own, [])
        self.members.liveness.slept(seconds, self.now)

    @rule()
    def epoch_begins(self) -> None:
        self.epoch += 1
        self.entered_at, self.members.changed = self.now, False
        self.out = self.members.draw(self.epoch, self.now, choosing=True)
        self.members.entered(self.epoch)
        assert not [peer for peer in self.out if self.members.is_shunned(peer)]
        if self.out != self.members.draw(self.epoch, self.now, choosing=False):
            assert self.members.changed

    @rule()
    def beacons(self) -> None:
        told = self.members.beacons(self.now, self.out, 0.0, 2)
        assert len(told) <= 2
        assert not set(told) & {"b", *self.out}

    @rule(peer=st.sampled_from(["a", "c"]), rumours=st.lists(heartbeats, max_size=4))
    def truth_wins(self, peer: str, rumours: list[Heartbeat]) -> None:
        """Whoever can be heard is believed after rising often enough, whatever others say in between."""
        view = self.members
        if view.is_shunned(peer):
            return
        for other in PEERS[2:]:
            if other != peer and other not in view.peers._tellers:
                view.remove(other, None)  # room in the table; who is known by hearsay makes room itself
        life = view.liveness.lives.get(peer)
        incarnation = max(view.peers.incarnation(peer) or 0, 0 if life is None else life.vouched)
        heartbeat = 0 if life is None else max(0, life.heard_heartbeat)
        for step in range(1, 2 + (RISES_WANTED << lives.FLAPS_MAX)):
            if heartbeat + step >= 2**64:
                return
            self.now += 1.0
            view.liveness.beat(self.now)
            view.liveness.hear_of([one for one in rumours if one.peer == peer], "e", self.now)
            self.says(Heartbeat(peer, incarnation, heartbeat + step), [])
            if view.peers.incarnation(peer) == incarnation:
                break
        assert view.peers.incarnation(peer) == incarnation

    @invariant()
    def events_tell_who_is_alive(self) -> None:
        for event in self.members.take_events():
            if isinstance(event, PeerArrived):
                self.alive.add(event.peer)
            elif isinstance(event, PeerDeparted):
                assert event.peer in self.alive
                self.alive.remove(event.peer)
        assert self.alive == set(self.members.peers.alive())
        assert "b" not in self.alive

    @invariant()
    def tables_are_bounded(self) -> None:
        view = self.members
        assert len(view.liveness.lives) <= LIVES_MAX
        assert len(view.peers) <= PEERS_MAX
        assert len(view._contacts) <= PEERS_MAX + len(view.peers)
        assert set(view._deaf) <= self.alive
        assert "b" not in view.liveness.lives

    @invariant()
    def what_is_told_can_be_sent(self) -> None:
        digest = self.members.digest("b:1")
        assert 1 <= len(digest) <= TOLD + 1 <= DIGEST_MAX
        signs = digest[:-1] if is_introduction(digest[-1]) else digest
        assert len(signs) <= TOLD
        assert len({heartbeat.peer for heartbeat in signs}) == len(signs)
        assert len(digest[0].hears or ()) <= HEARS_MAX
        empty: tuple[Array, ...] = ()
        sent = push("b", arrays=empty, digest=digest)
        assert decode_push(encode_push(sent)).digest == digest

    @invariant()
    def no_life_is_ahead_of_time(self) -> None:
        for life in self.members.liveness.lives.values():
            assert life.rose_at <= self.now
            assert life.rises >= 0


def test_views_of_the_swarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "LIVES_MAX", LIVES_MAX)
    monkeypatch.setattr(lives, "FLAPS_MAX", 3)
    monkeypatch.setattr("peer.peer_table.PEERS_KNOWN_MAX", PEERS_MAX)
    monkeypatch.setattr(membership, "PEERS_KNOWN_MAX", PEERS_MAX)
    run_state_machine_as_test(
        Views,
        settings=settings(
            max_examples=120,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
