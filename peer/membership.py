"""Who takes part and who is pushed to: one agent's view of the swarm.

    named (discovery, a scenario) --> contacts: beacons are sent there, ever more rarely; others are told
    heartbeats heard to rise      --> alive: may become neighbours
    silent, or said goodbye       --> gone: no neighbours of the next epoch, contacts again
    deaf                          --> alive, but not pushed to by this agent: it does not hear us
    quarantined                   --> shunned by this agent, and by all that hear two others accuse it

Changes are only noted here; the agent begins an epoch for them when it is time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from peer.bypasses import ALL_ARE_KNOWN, Bypasses
from peer.events import Event, LinkDeaf, LinkHeard, PeerArrived, PeerDeparted, PeerQuarantined
from peer.introductions import Introductions, is_introduction
from peer.liveness import Liveness, News
from peer.peer_table import PeerTable
from peer.topology import out_neighbours, predecessors
from peer.unheard import Unheard
from wire import PEERS_KNOWN_MAX, Heartbeat, peer_mark
from wire.messages import ACCUSES_MAX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from peer.admission import Identity
    from peer.algebra import V
    from peer.pace import Pace
    from peer.settings import AgentSettings
    from wire import PeerId, Push

T = TypeVar("T")

ACCUSERS_WANTED = 2  # one liar must not be able to have an honest peer shunned by all
SUSPECT = 0.5  # share of the silence that is believed, from which a peer is no longer chosen
BEACONS_PER_TICK = 4  # a beacon costs a kilobyte; a large swarm has many contacts
BEACON_TICKS_MIN = 2.0  # doubled with each beacon that has no effect
BEACON_TICKS_ALIVE = 20.0  # to members that are not pushed to, if `expire_ticks` is three times as long
BEACON_TICKS_DEAF = 5.0  # to members that do not hear this agent, to see when they do
BEACON_TICKS_DEAD = 20.0  # to those that may be dead, times their number: news may reach nobody without them
BEACON_TICKS_MAX = 200.0  # to any of them
HEARD_AGAIN_TICKS = 20.0  # a deaf link is used again when beacons have arrived for so long
STEADY_EPOCHS = 10.0  # a peer alive for so many shortest epochs is forgiven its flapping
QUARANTINE_TICKS = 2000.0  # doubled each time
REMEMBERED_MAX = 512  # peers with a record of deaf links or of quarantine; the oldest is forgotten


@dataclass(slots=True)
class Contact:
    """Somebody who is told that we live."""

    due_at: float
    interval_ticks: float = BEACON_TICKS_MIN


@dataclass(slots=True)
class Quarantine:
    """A peer whose sums were not believable."""

    reason: str
    until: float
    ticks: float


class Membership:
    """See the table above. Pure: time is an argument.

    Invariant: `changed` is set whenever a draw of neighbours may have another result than the last one.
    """

    def __init__(self, identity: Identity, settings: AgentSettings, pace: Pace) -> None:
        self.peers = PeerTable()
        self.changed = False
        self.quarantined: dict[PeerId, Quarantine] = {}
        self.liveness = Liveness(
            identity.peer, identity.incarnation, expire_ticks=settings.expire_ticks, tick_s=settings.tick_s
        )
        self._own = identity.peer
        self._swarm = identity.swarm
        self._settings = settings
        self._pace = pace
        self._events: list[Event] = []
        self._beacon_ticks = min(BEACON_TICKS_ALIVE, settings.expire_ticks / 3)
        self._contacts: dict[PeerId, Contact] = {}
        self._unheard = Unheard(settings.expire_ticks)
        self._deaf: dict[PeerId, float | None] = {}  # since when beacons arrive there again
        self._link_patience: dict[PeerId, float] = {}
        self._alive_since: dict[PeerId, float] = {}
        self._guilty: frozenset[bytes] = frozenset()  # marks of peers quarantined, here or by several others
        self._accused: tuple[bytes, ...] = ()  # marks of the peers that this agent itself has quarantined
        self._believed: list[PeerId] = []
        self._believed_of: tuple[list[PeerId], frozenset[bytes]] | None = None  # from whom they were chosen
        self._bypasses = Bypasses(identity.peer, self.liveness, settings.expire_ticks)
        self._predecessors: frozenset[PeerId] = frozenset()  # in this epoch
        self._to_be_told: frozenset[PeerId] = frozenset()  # in this epoch or the next one
        self._newly_found: list[tuple[PeerId, str]] = []
        self._introductions = Introductions()

    # ---- what is told

    def name(self, peer: PeerId, incarnation: int, now: float) -> None:
        """Somebody who must know says that this peer is a member: a starter of a swarm, a scenario."""
        if peer != self._own:
            self.liveness.name(peer, incarnation, now)
            self._arrive(peer, incarnation, now)

    def find(self, peer: PeerId, now: float, address: str = "", *, introduce: bool = True) -> None:
        """Discovery says that somebody listens there; its heartbeat tells whether it takes part."""
        contact = self._contacts.get(peer)
        if peer != self._own and (contact is None or self.peers.incarnation(peer) is None):
            if introduce:
                self._introductions.found(peer, address, self.liveness.heartbeat)
            self._contact(peer, now, address)

    def remove(self, peer: PeerId, incarnation: int | None) -> None:
        """Somebody who must know says that this peer, up to this incarnation, is no more."""
        if self.peers.gone(peer, incarnation):
            if peer in self.liveness.lives:
                self.liveness.lost(peer)  # messages under way do not bring it back
            self._depart(peer)

    def receive(self, push: Push[V], now: float) -> None:
        """Read the signs of life of a message that is for us, by a sender that is not quarantined."""
        own, *others = push.digest or (Heartbeat(push.sender, push.incarnation, push.tick, push.address),)
        if own.peer != push.sender or own.incarnation != push.incarnation:
            own, others = Heartbeat(push.sender, push.incarnation, push.tick, push.address), []
        for news in self.liveness.hear(own, push.tick_interval_s, now):
            self._believe(news, now)
        if self.peers.incarnation(push.sender) == push.incarnation:
            for news in self.liveness.hear_of(others, push.sender, now):
                self._believe(news, now, push.sender)
            for told in filter(is_introduction, others):
                self._introduce(told, push.sender, now)
        contact = self._contacts.get(push.sender)
        dead = self.peers.incarnation(push.sender) is None
        if contact is None or (dead and contact.due_at > now + self._beacon_ticks * self._pace.typical_s()):
            self._contact(push.sender, now)  # who was believed dead speaks: let it hear the same of us

    def _introduce(self, told: Heartbeat, teller: PeerId, now: float) -> None:
        """Somebody has found this peer and never heard it."""
        is_known = told.peer == self._own or told.peer in self._contacts
        if not is_known and self._introductions.told(told, teller, self.liveness.heartbeat):
            self._contact(told.peer, now, told.address)

    def time(self, push: Push[V]) -> None:
        """Note how fast the sender of a message says that it ticks."""
        life = self.liveness.lives.get(push.sender)
        self._pace.heard(push.sender, push.tick_interval_s, None if life is None else life.beat_s())

    def quarantine(self, peer: PeerId, reason: str, now: float) -> None:
        """Refuse what this peer says, for a while that doubles each time."""
        before = self.quarantined.get(peer)
        ticks = QUARANTINE_TICKS if before is None else 2.0 * before.ticks
        _remember(self.quarantined, peer, Quarantine(reason, now + ticks * self._pace.typical_s(), ticks))
        self._judge_accused(now)
        self._events.append(PeerQuarantined(peer, reason))

    # ---- time

    def tick(self, now: float, out: Collection[PeerId], entered_at: float) -> None:
        """One own tick: who fell silent, which links are deaf? `out` is pushed to since `entered_at`."""
        self.liveness.beat(now)
        typical_s, steady_s = self._pace.typical_s(), self._steady_s()
        self.liveness.tick_s = typical_s
        for peer in self.liveness.silent(self.peers.alive(), typical_s, now):
            if peer not in self.liveness.lives:
                self.remove(peer, None)  # forgotten for want of room
                continue
            self.liveness.lost(peer, silently=True)
            self.peers.gone(peer)
            self._depart(peer)
            self._contact(peer, now)
        for peer, since in self._alive_since.items():
            if now - since > steady_s:
                self.liveness.steady(peer)
        self._judge_links(now, out, entered_at)
        self._judge_accused(now)
        if self._bypasses.look(self.believed(), self._alive_since, self._silence_s, typical_s, now):
            self.changed = True

    def _steady_s(self) -> float:
        settings = self._settings
        return (
            STEADY_EPOCHS * settings.epoch_warm_ups_min * settings.warm_up_at_first * self._pace.typical_s()
        )

    def _judge_links(self, now: float, out: Collection[PeerId], entered_at: float) -> None:
        typical_s = self._pace.typical_s()
        shortest_s = self._settings.expire_ticks * typical_s  # no silence is believed to mean more by less
        self._unheard.only(out)
        for peer in sorted(out):
            heard = self.liveness.heard_of_us(peer)
            self._unheard.heard(peer, -1 if heard is None else heard.heartbeat)
            if peer in self._deaf or self.peers.incarnation(peer) is None or not self._unheard.is_long(peer):
                continue
            unheard_s = self.liveness.unheard_s(peer, entered_at, typical_s)
            patience = self._link_patience.get(peer, 1.0)
            if unheard_s > patience * shortest_s and unheard_s > patience * self._silence_s(self._own, peer):
                self._deaf[peer] = None
                _remember(self._link_patience, peer, 2.0 * self._link_patience.get(peer, 1.0))
                self.changed = True
                self._events.append(LinkDeaf(peer))
        for peer, since in list(self._deaf.items()):
            hears = self.is_heard_by(peer, now)
            self._deaf[peer] = (now if since is None else since) if hears else None
            if since is not None and hears and now - since > HEARD_AGAIN_TICKS * typical_s:
                del self._deaf[peer]
                self.changed = True
                self._events.append(LinkHeard(peer))

    def _judge_accused(self, now: float) -> None:
        """Who is shunned: whom this agent has quarantined, and whom several believed peers accuse."""
        if not (self.quarantined or self.liveness.accusers or self._guilty):
            return
        own = [peer for peer, quarantine in self.quarantined.items() if now < quarantine.until]
        accusers: dict[bytes, int] = {}
        for peer in self.liveness.accusers:
            if self.peers.incarnation(peer) is not None and peer not in own:
                for mark in set(self.liveness.lives[peer].accuses):
                    accusers[mark] = accusers.get(mark, 0) + 1
        self._accused = tuple(sorted(peer_mark(peer) for peer in own[-ACCUSES_MAX:]))
        convicted = {mark for mark, count in accusers.items() if count >= ACCUSERS_WANTED}
        guilty = frozenset(convicted | {peer_mark(peer) for peer in own})
        if guilty != self._guilty:
            self._guilty = guilty
            self.changed = True

    # ---- neighbours

    def draw(self, epoch: int, now: float, *, choosing: bool) -> tuple[PeerId, ...]:
        """The out-neighbours of an epoch; when `choosing`, peers that may be dead are left out, too."""
        members = self.believed()
        if choosing:
            typical_s = self._pace.typical_s()
            lively = [peer for peer in members if self.liveness.silence(peer, typical_s, now) < SUSPECT]
            self.changed = self.changed or lively != members  # who is heard again is to be drawn after all
            members = lively
        usable = [peer for peer in members if peer not in self._deaf] or members  # mass must not end here
        drawn = out_neighbours(
            self._own, usable, fanout=self._settings.fanout, swarm=self._swarm, epoch=epoch
        )
        return tuple(sorted({*drawn, *(peer for peer in self._bypasses.targets if peer in usable)}))

    def believed(self) -> list[PeerId]:
        """Peers alive that are not shunned, sorted; not to be changed."""
        alive, before = self.peers.alive(), self._believed_of
        if before is None or before[0] is not alive or before[1] is not self._guilty:
            self._believed_of = (alive, self._guilty)
            self._believed = [peer for peer in alive if not self.is_shunned(peer)]
        return self._believed

    def is_shunned(self, peer: PeerId) -> bool:
        """Whether nothing is pushed to this peer and nothing taken from it, as of the last tick."""
        return bool(self._guilty) and peer_mark(peer) in self._guilty

    def entered(self, epoch: int) -> None:
        """An epoch has begun: tell those that will push to us, now or in the next one, that we live."""
        fanout, members = self._settings.fanout, self.peers.alive()
        self._predecessors, following = (
            predecessors(self._own, members, fanout=fanout, swarm=self._swarm, epoch=number)
            for number in (epoch, epoch + 1)
        )
        self._to_be_told = self._predecessors | following

    def hears(self, peer: PeerId, now: float) -> bool:
        """Whether this agent has heard the peer itself lately."""
        life = self.liveness.lives.get(peer)
        silence_s = self._silence_s(peer, self._own)
        return life is not None and life.heard_at is not None and now - life.heard_at <= silence_s

    def is_heard_by(self, peer: PeerId, now: float) -> bool:
        """Whether the peer says that it has heard this agent lately."""
        return self.liveness.hears_us(peer, now - self._silence_s(self._own, peer))

    def _silence_s(self, source: PeerId, target: PeerId) -> float:
        """For how long a working link may seem silent: by the slowest of both and a typical peer."""
        slowest_s = self._pace.typical_s()
        for peer in (source, target):
            if peer == self._own:
                slowest_s = max(slowest_s, self._pace.own_s)
            elif (life := self.liveness.lives.get(peer)) is not None:
                slowest_s = max(slowest_s, life.rough_beat_s() or 0.0)
        return self._settings.expire_ticks * slowest_s

    def is_out_of_reach(self, since: float, patience_s: float, now: float) -> bool:
        """Whether some are heard, but for so long none of those who should push to us in this epoch."""
        if now - since <= patience_s:
            return False
        heard_at = {True: since, False: -math.inf}
        for peer in self.believed():
            life = self.liveness.lives.get(peer)
            if life is not None and life.heard_at is not None:
                pushes = peer in self._predecessors
                heard_at[pushes] = max(heard_at[pushes], life.heard_at)
        return now - heard_at[True] > patience_s >= now - heard_at[False]

    # ---- what is sent

    def beacons(
        self, now: float, out: Collection[PeerId], silent_s: float, at_most: int
    ) -> tuple[PeerId, ...]:
        """Who is to be told now that we live; not those that were pushed to lately anyway.

        `out` are the out-neighbours, `silent_s` the time since they were last pushed to. Peers alive come
        first: no crowd of names found keeps members from being told.
        """
        typical_s = self._pace.typical_s()
        pushed_to = out if silent_s < self._beacon_ticks * typical_s else ()
        all_are_told = len(self.peers) <= ALL_ARE_KNOWN
        due = []
        for peer, contact in self._contacts.items():
            if contact.due_at <= now and peer not in pushed_to:
                is_dead = self.peers.incarnation(peer) is None
                if all_are_told or is_dead or peer in self._deaf or peer in self._to_be_told:
                    due.append((is_dead, contact.due_at, peer))
        due.sort()
        chosen = tuple([peer for *_, peer in due[:at_most]])
        dead = sum(self.peers.incarnation(peer) is None for peer in self._contacts) if chosen else 0
        for peer in chosen:
            contact = self._contacts[peer]
            limit = min(BEACON_TICKS_DEAD * dead, BEACON_TICKS_MAX)
            if self.peers.incarnation(peer) is not None:
                limit = BEACON_TICKS_DEAF if peer in self._deaf else self._beacon_ticks
            contact.interval_ticks = min(2.0 * contact.interval_ticks, limit)
            contact.due_at = now + contact.interval_ticks * typical_s
        return chosen

    def sent(self, targets: Iterable[PeerId]) -> None:
        """A message has gone out to these."""
        self._unheard.sent(targets)

    def digest(self, address: str, *, left: bool = False) -> tuple[Heartbeat, ...]:
        """What every message tells of who lives."""
        told = self.liveness.digest(address, left=left, accuses=self._accused)
        return told + self._introductions.next_told(self.liveness)

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def take_found(self) -> list[tuple[PeerId, str]]:
        """Peers newly contacted, and where they say they listen ("" if they do not)."""
        found, self._newly_found = self._newly_found, []
        return found

    # ---- changes

    def _believe(self, news: News, now: float, teller: PeerId = "") -> None:
        if news.alive:
            if teller and self.peers.incarnation(news.peer) == news.incarnation:
                return  # as was known
            self.peers.correct(news.peer, news.incarnation)
            self._arrive(news.peer, news.incarnation, now, teller)
        elif self.peers.gone(news.peer, news.incarnation):
            self._depart(news.peer)

    def _arrive(self, peer: PeerId, incarnation: int, now: float, teller: PeerId = "") -> None:
        if self.peers.is_full() and self.peers.incarnation(peer) is None:
            one = self.peers.who_makes_room(teller)
            if one is not None:
                self.remove(one, None)
        if self.peers.seen(peer, incarnation, teller):
            self.changed = True
            self._alive_since[peer] = now
            self._contact(peer, now)
            self._events.append(PeerArrived(peer, incarnation))

    def _depart(self, peer: PeerId) -> None:
        self.changed = True
        self._pace.forget(peer)
        self._alive_since.pop(peer, None)
        self._deaf.pop(peer, None)
        self._events.append(PeerDeparted(peer))

    def _contact(self, peer: PeerId, now: float, address: str = "") -> None:
        """Begin (again) to tell this peer that we live; the dead one with the longest wait makes room."""
        if peer not in self._contacts:
            while len(self._contacts) >= PEERS_KNOWN_MAX:
                dead = [known for known in self._contacts if self.peers.incarnation(known) is None]
                if not dead:
                    return
                del self._contacts[max(dead, key=lambda known: (self._contacts[known].due_at, known))]
            life = self.liveness.lives.get(peer)
            self._newly_found.append((peer, address if life is None else life.address or address))
        self._contacts[peer] = Contact(now)


def _remember(records: dict[PeerId, T], peer: PeerId, record: T) -> None:
    """Note the newest record, behind all others."""
    records.pop(peer, None)
    records[peer] = record
    while len(records) > REMEMBERED_MAX:
        del records[next(iter(records))]
