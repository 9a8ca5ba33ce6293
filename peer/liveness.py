"""Who is alive and who hears whom, read from heartbeats that travel with the messages. DESIGN (Liveness).

Every message carries the sender's own heartbeat, whom it hears, and some heartbeats that it knows of. Nobody
answers anybody; news spreads wherever messages go. What is decided here is only who may be a neighbour: no
sum and no answer rests on it.

Time is measured in what was observed: a peer is silent when its heartbeat has stood still for several times
as long as it used to, and a link is deaf when the other side has told for long enough that it hears nothing
of what was sent there.

What a peer says itself overrules what others say of it, and where it is heard itself, others only confirm
that it lives: hearsay can neither bury nor rename who can be heard. Of peers that are not heard directly a
member may tell lies, as of members that do not exist.
"""

from __future__ import annotations

import heapq
import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

from peer.introductions import is_introduction
from peer.lives import Life, who_is_forgotten, who_makes_room
from wire import Heard, Heartbeat, peer_mark
from wire.messages import AGE_TICKS_MAX, HEARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire import PeerId

LIVES_MAX = 1024  # peers alive and dead that are remembered; the longest silent makes room
OWN_BEATS_MAX = 4096  # own heartbeats whose time is remembered, to measure round trips
GAPS_OF_SILENCE = 6.0  # longer than so many of the longest recent gaps: beside `expire_ticks`
PATIENCE_MAX = 64.0  # doubled by each false alarm
TOLD = 4  # heartbeats per message, the own one included: half a kilobyte, and news of 60 peers in 20 ticks
RETOLD_TICKS = 20  # own ticks during which a heartbeat is passed on: messages get lost
UNHEARD_FACTOR = 4.0  # a peer never heard of is believed for so many times `expire_ticks`
HEARING_TICKS = 400  # who was last heard longer ago is not said to be heard
HEARSAY_TICKS = 40  # own ticks, two beacons, after which others may say more of a peer than that it lives
ROUND_TRIP_WEIGHT = 0.1  # of the newest measurement


class News(NamedTuple):
    """What a message told about one peer."""

    peer: PeerId
    incarnation: int
    alive: bool  # False: it said goodbye, or this incarnation is no more


class Liveness:
    """The heartbeats of a swarm as one agent knows them.

    Invariant: at most LIVES_MAX peers. What a peer says itself is taken in rising order of (incarnation,
    heartbeat), and so is what others say of it since.
    """

    def __init__(self, own: PeerId, incarnation: int, *, expire_ticks: float, tick_s: float) -> None:
        self.heartbeat = 0
        self.tick_s = tick_s  # of a typical peer; who knows better sets it
        self.lives: dict[PeerId, Life] = {}
        self.accusers: set[PeerId] = set()  # who has accused anybody when it last spoke, or did so before
        self._direct: dict[PeerId, Life] = {}  # the lives of those that were ever heard directly
        self._own = own
        self._mark = peer_mark(own)
        self._incarnation = incarnation
        self._expire_ticks = expire_ticks
        self._beat_at: dict[int, float] = {}
        self._woke_at = -math.inf
        self._full_on = -1  # own heartbeat when there was no room for hearsay
        self._turns: dict[PeerId, int] = {}  # by whom news came: when something of it was last passed on
        self._turn = 0

    def beat(self, now: float) -> None:
        """One own tick has begun."""
        self.heartbeat += 1
        self._beat_at[self.heartbeat] = now
        if len(self._beat_at) > OWN_BEATS_MAX:
            del self._beat_at[next(iter(self._beat_at))]

    def slept(self, seconds: float, now: float) -> None:
        """This agent was stopped for so long, or its clock was set: whoever seems silent had no chance.

        Nor is the time since anybody's last message one to measure its heartbeat by: a clock that was set has
        made it longer or shorter, and from one that is never heard again the error would stay.
        """
        self._woke_at = now
        for life in self.lives.values():
            life.rose_at = min(now, life.rose_at + seconds)
            life.timed_at = None

    def name(self, peer: PeerId, incarnation: int, now: float) -> None:
        """Somebody who must know says that this peer lives: it is given time to be heard."""
        life = self.lives.get(peer)
        if life is None:
            self._add(peer, Life(incarnation, now, incarnation, is_believed=True), hearsay=False)
            return
        if incarnation < life.vouched:
            return
        life.vouched = incarnation
        if incarnation != life.incarnation:
            life.renew(incarnation)
        life.is_believed = True
        if not life.rises:
            life.rose_at = now

    def hear(self, sender: Heartbeat, tick_s: float, now: float) -> list[News]:
        """A message has come from `sender` itself, whose own heartbeat this is; it ticks every `tick_s`."""
        peer = sender.peer
        life = self.lives.get(peer)
        if life is None:
            life = Life(sender.incarnation, now)
            self._add(peer, life, hearsay=False)
        if sender.incarnation < life.vouched:
            return []  # late, of a former incarnation
        life.vouched = sender.incarnation
        news = self._become(peer, life, sender.incarnation)
        if sender.heartbeat < life.heard_heartbeat:
            return news  # late
        is_new = sender.heartbeat > life.heard_heartbeat
        life.heard(sender.heartbeat, self.heartbeat, now)
        self._direct[peer] = life
        if is_new:
            news += self._rise(life, sender, now, told_by="")
            self._accuse(life, sender)
            self._measure_round_trip(life, sender, tick_s, now)
        return news

    def _accuse(self, life: Life, sender: Heartbeat) -> None:
        """Said by itself: one liar must not accuse in many names."""
        if sender.accuses:
            self.accusers.add(sender.peer)
        else:
            self.accusers.discard(sender.peer)
        life.accuses, life.told = sender.accuses, None

    def hear_of(self, others: Iterable[Heartbeat], teller: PeerId, now: float) -> list[News]:
        """What a peer passes on of others."""
        news: list[News] = []
        for heartbeat in others:
            news += self._take_hearsay(heartbeat, teller, now)
        return news

    def _take_hearsay(self, told: Heartbeat, teller: PeerId, now: float) -> list[News]:
        """Note what one peer says of another, if it is newer than what is known."""
        peer = told.peer
        if peer == self._own or is_introduction(told):
            return []
        life = self.lives.get(peer)
        if life is None:
            life = Life(told.incarnation, now)
            if not self._add(peer, life, hearsay=True):
                return []
        if life.is_heard(self.heartbeat, HEARSAY_TICKS):
            if told.incarnation == life.incarnation and told.heartbeat > life.heartbeat and not told.left:
                life.note_rise(told.heartbeat, self.heartbeat, now)
            return []
        news: list[News] = []
        if self._is_forgotten(life, told) and told.incarnation >= life.vouched:
            life.renew(told.incarnation)
        elif told.incarnation > life.incarnation:
            news = self._become(peer, life, told.incarnation)
        if told.incarnation < life.incarnation or told.heartbeat <= life.heartbeat:
            return news
        return news + self._rise(life, told, now, told_by=teller)

    def _is_forgotten(self, life: Life, told: Heartbeat) -> bool:
        """Dead for so long that no message about it is under way: false news of it counts no more.

        Nor do a few heartbeats of a life that nobody came to believe in, unless these words go on from them:
        a liar may have made them up. Where news comes seldom, a life takes long to be believed in.
        """
        if life.is_believed or self.heartbeat - life.rose_on <= HEARING_TICKS:
            return False
        goes_on = told.incarnation == life.incarnation and told.heartbeat > life.heartbeat
        return not (life.rises and goes_on)

    def _become(self, peer: PeerId, life: Life, incarnation: int) -> list[News]:
        """The peer is known in this incarnation from now on; what it was before is gone."""
        before = life.incarnation
        if incarnation == before:
            return []
        if life.rises and incarnation > before:
            life.losses += 1
        life.renew(incarnation)
        return [News(peer, before, alive=False)]

    def _rise(self, life: Life, told: Heartbeat, now: float, *, told_by: PeerId) -> list[News]:
        """Take over a newer heartbeat, and whether the peer is believed alive by it."""
        life.rose(told.heartbeat, self.heartbeat, now, self.tick_s)
        life.hears, life.told = told.hears, None
        is_timed = life.spoke_at >= self._woke_at
        life.spoke(told.heartbeat, self.heartbeat, now, told_by, is_timed=is_timed)
        life.address = told.address or life.address
        life.left = told.left
        if life.left:
            self.lost(told.peer)
        elif not life.is_believed:
            return []
        return [News(told.peer, life.incarnation, alive=not life.left)]

    def _measure_round_trip(self, life: Life, sender: Heartbeat, tick_s: float, now: float) -> None:
        heard = self.heard_of_us(sender.peer)
        sent_at = None if heard is None else self._beat_at.get(heard.heartbeat)
        if sent_at is None or sent_at < self._woke_at:  # a clock that was set since would be all of the trip
            return
        if heard is not None and heard.age_ticks < AGE_TICKS_MAX:
            trip_s = max(0.0, now - sent_at - heard.age_ticks * tick_s)
            known = life.round_trip_s
            life.round_trip_s = trip_s if known is None else known + ROUND_TRIP_WEIGHT * (trip_s - known)

    def lost(self, peer: PeerId, *, silently: bool = False) -> None:
        """The peer is believed dead. If it was only silent and rises again, it is given more time."""
        life = self.lives[peer]
        life.is_believed, life.rises = False, 0
        life.losses += 1
        if silently:
            life.patience = min(2.0 * life.patience, PATIENCE_MAX)

    def steady(self, peer: PeerId) -> None:
        """The peer has been alive for long: losses and false alarms are forgiven."""
        self.lives[peer].losses, self.lives[peer].patience = 0, 1.0

    def silent(self, peers: Iterable[PeerId], tick_s: float, now: float) -> list[PeerId]:
        """Those of them whose `silence` is 1 and more, and who are not remembered."""
        shortest_s = self._expire_ticks * tick_s  # nobody is believed for less
        return [
            peer
            for peer in peers
            if (life := self.lives.get(peer)) is None
            or (now - life.rose_at >= shortest_s and self.silence(peer, tick_s, now) >= 1.0)
        ]

    def silence(self, peer: PeerId, tick_s: float, now: float) -> float:
        """How long the heartbeat has stood still, as a share of what is believed; 1 and more: dead.

        `tick_s` is the interval of a typical peer. Who is not remembered is not silent.
        """
        life = self.lives.get(peer)
        if life is None:
            return 0.0
        if life.heartbeat < 0:
            limit_s = UNHEARD_FACTOR * self._expire_ticks * tick_s
        else:
            limit_s = life.patience * (self._expire_ticks * tick_s + GAPS_OF_SILENCE * life.gap_s)
        return (now - life.rose_at) / limit_s if limit_s > 0 else 0.0

    def heard_of_us(self, peer: PeerId) -> Heard | None:
        """What the peer last said of hearing this agent."""
        life = self.lives.get(peer)
        if life is None or life.hears is None:
            return None
        for heard in life.hears:
            if heard.mark == self._mark:
                return heard
        return None

    def unheard_s(self, peer: PeerId, since: float, tick_s: float) -> float:
        """For how long, by its own newest words, the peer has heard nothing that was sent since `since`.

        Words may have been under way for long: how many of its ticks ago it heard us counts, of `tick_s` if
        its own are not known. 0 if it has said nothing since, or is heard itself and does not say (protocol
        version 1).
        """
        life = self.lives.get(peer)
        if life is None or (life.hears is None and not life.told_by):
            return 0.0
        silent_s = life.spoke_at - max(since, self._woke_at)
        heard = self.heard_of_us(peer)
        if heard is not None and heard.heartbeat in self._beat_at:
            silent_s = min(
                silent_s,
                life.spoke_at - self._beat_at[heard.heartbeat],
                heard.age_ticks * (life.rough_beat_s() or tick_s),
            )
        return max(0.0, silent_s)

    def hears(self, peer: PeerId, within_ticks: float) -> bool:
        """Whether this agent has heard the peer directly and lately, in own ticks."""
        life = self.lives.get(peer)
        return life is not None and life.is_heard(self.heartbeat, within_ticks)

    def is_heard_by(self, source: PeerId, target: PeerId, within_s: float) -> bool:
        """Whether `target` says that it has heard `source` within this time; True if it says nothing."""
        life = self.lives.get(target)
        if life is None or life.hears is None:
            return True
        mark = self._mark if source == self._own else peer_mark(source)
        tick_s = life.rough_beat_s() or self.tick_s
        ages = [heard.age_ticks for heard in life.hears if heard.mark == mark]
        return bool(ages) and min(ages) * tick_s <= within_s

    def hears_us(self, peer: PeerId, since: float) -> bool:
        """Whether the peer says that it has heard something that this agent has sent since then."""
        heard = self.heard_of_us(peer)
        return heard is not None and self._beat_at.get(heard.heartbeat, -math.inf) >= since

    def typical_delay_s(self) -> float:
        """Median over the peers heard of half a round trip; 0 if none was measured."""
        trips = [life.round_trip_s for life in self._direct.values() if life.round_trip_s is not None]
        return statistics.median(trips) / 2 if trips else 0.0

    def digest(self, address: str, *, left: bool, accuses: tuple[bytes, ...]) -> tuple[Heartbeat, ...]:
        """The own heartbeat and some of those of whom there is word lately."""
        own = Heartbeat(self._own, self._incarnation, self.heartbeat, address, left, self._hears(), accuses)
        told = [own]
        for peer in self._next_told():
            life = self.lives[peer]
            life.told_on = self.heartbeat
            told.append(life.words(peer))
        return tuple(told)

    def _next_told(self) -> list[PeerId]:
        """Whose news is passed on next: by turns of whom it came from, so that no crowd keeps others out."""
        waiting: dict[PeerId, list[tuple[int, PeerId]]] = {}
        oldest = self.heartbeat - RETOLD_TICKS
        for peer, life in self.lives.items():
            if life.spoke_on >= oldest and life.spoke_heartbeat >= 0:
                queue = waiting.get(life.told_by)
                if queue is None:
                    waiting[life.told_by] = queue = []
                queue.append((life.told_on, peer))
        self._turns = {source: self._turns.get(source, -1) for source in waiting}
        turns = [(turn, source) for source, turn in self._turns.items()]
        heapq.heapify(turns)
        chosen: list[PeerId] = []
        while turns and len(chosen) < TOLD - 1:
            _, source = turns[0]
            self._turn += 1
            self._turns[source] = self._turn
            queue = waiting[source]
            longest_untold = min(queue)
            queue.remove(longest_untold)
            chosen.append(longest_untold[1])
            if queue:
                heapq.heapreplace(turns, (self._turn, source))
            else:
                heapq.heappop(turns)
        return chosen

    def _hears(self) -> tuple[Heard, ...]:
        """Who was heard directly and lately, the latest first."""
        latest = sorted(
            [
                (self.heartbeat - life.heard_on, peer)
                for peer, life in self._direct.items()
                if life.is_heard(self.heartbeat, HEARING_TICKS)
            ]
        )
        newest = [(peer, self._direct[peer].heard_heartbeat, age) for age, peer in latest[:HEARS_MAX]]
        return tuple([Heard(peer_mark(peer), heartbeat, age) for peer, heartbeat, age in newest])

    def _add(self, peer: PeerId, life: Life, *, hearsay: bool) -> bool:
        """Remember one more; whether there is room. Hearsay gets that of who was silent for long only."""
        if len(self.lives) >= LIVES_MAX:
            if hearsay and self._full_on == self.heartbeat:
                return False
            one = who_is_forgotten(self.lives) if hearsay else who_makes_room(self.lives)
            if hearsay and self.heartbeat - self.lives[one].rose_on <= HEARING_TICKS:
                self._full_on = self.heartbeat  # a crowd is not searched again for every name in it
                return False
            del self.lives[one]
            self._direct.pop(one, None)
            self.accusers.discard(one)
        life.rose_on = self.heartbeat
        self.lives[peer] = life
        return True
