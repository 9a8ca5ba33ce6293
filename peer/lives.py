"""What is remembered of one peer, and who is forgotten when there is no more room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire import Heard, PeerId

RISES_WANTED = 3  # own ticks in which a stranger has to be heard of: one message proves nothing
FLAPS_MAX = 8  # each loss doubles the time wanted; 3 * 2**8 ticks are two of the shortest epochs
GAP_DECAY = 0.95  # per rise: one long gap is forgotten after some fifty
BEAT_DECAY = 0.95  # per message: the measured interval is that of the last twenty


@dataclass(slots=True)
class Life:
    """What is known of one peer."""

    incarnation: int
    rose_at: float  # when its heartbeat was last seen to rise, or when it was first named
    vouched: int = -1  # the incarnation told by the peer itself, or by who must know
    heartbeat: int = -1  # none heard of yet
    address: str = ""
    gap_s: float = 0.0  # the longest recent time between two rises
    patience: float = 1.0
    is_believed: bool = False  # somebody who must know says that it lives, or it has risen for long enough
    rises: int = 0  # since it was last lost; one in an own tick at most
    counted_on: int = 0  # own heartbeat when the last of them was
    rising_since: float = 0.0  # when the first of them was seen
    losses: int = 0
    left: bool = False
    hears: tuple[Heard, ...] | None = None  # None: it does not say (protocol version 1)
    accuses: tuple[bytes, ...] = ()
    told: Heartbeat | None = None  # these words, as they are passed on; None: to be put together again
    spoke_at: float = 0.0  # when these words came
    spoke_on: int = 0  # own heartbeat then
    spoke_heartbeat: int = -1  # its heartbeat that they came with; a later one may be known without words
    told_by: PeerId = ""  # who passed them on; "" if the peer said them itself
    rose_on: int = 0  # own heartbeat then
    told_on: int = -1  # own heartbeat when it was last passed on
    heard_at: float | None = None  # directly
    heard_on: int = 0  # own heartbeat then
    heard_heartbeat: int = -1
    round_trip_s: float | None = None
    timed_at: float | None = None  # heard_at, unless this agent was stopped since, or its clock was set
    beats: float = 0.0  # by which the heartbeat rose from one direct message to the next, lately
    beats_s: float = 0.0  # and the time between them
    news_beats: float = 0.0  # likewise, from news to news, whoever brought it
    news_beats_s: float = 0.0

    def beat_s(self) -> float | None:
        """Seconds from heartbeat to heartbeat, measured; None if it was not heard twice."""
        return self.beats_s / self.beats if self.beats else None

    def rough_beat_s(self) -> float | None:
        """The same; of who is only heard of, by what others tell. None if there was no news twice."""
        if self.news_beats and (self.told_by or not self.beats):
            return self.news_beats_s / self.news_beats
        return self.beat_s()

    def ticks_wanted(self) -> int:
        """For how many ticks of a typical peer its heartbeat has to rise to be believed: flapping costs.

        The first loss is free: every member may be restarted.
        """
        return RISES_WANTED << min(max(0, self.losses - 1), FLAPS_MAX)

    def rose(self, heartbeat: int, own_heartbeat: int, now: float, tick_s: float) -> None:
        """News of the peer has come; time is what proves it, not the number of messages."""
        if not self.rises:
            self.rising_since = now
        is_counted = not self.rises or self.counted_on != own_heartbeat
        self.note_rise(heartbeat, own_heartbeat, now)
        if is_counted:
            self.rises += 1
            self.counted_on = own_heartbeat
        held_off_s = (self.ticks_wanted() - 1) * tick_s
        self.is_believed |= self.rises >= RISES_WANTED and now - self.rising_since >= held_off_s

    def note_rise(self, heartbeat: int, own_heartbeat: int, now: float) -> None:
        """The heartbeat is known to be higher."""
        if self.rises:
            self.gap_s = max(now - self.rose_at, GAP_DECAY * self.gap_s)
        self.heartbeat, self.rose_at, self.rose_on = heartbeat, now, own_heartbeat

    def is_heard(self, own_heartbeat: int, within_ticks: float) -> bool:
        """Whether it was heard directly and lately, in own ticks."""
        return self.heard_at is not None and own_heartbeat - self.heard_on <= within_ticks

    def words(self, peer: PeerId) -> Heartbeat:
        """What `peer` said last, to be passed on. Whoever changes what it holds sets `told` to None."""
        if self.told is None:
            self.told = Heartbeat(
                peer,
                self.incarnation,
                self.spoke_heartbeat,
                self.address,
                self.left,
                self.hears,
                self.accuses,
            )
        return self.told

    def heard(self, heartbeat: int, own_heartbeat: int, now: float) -> None:
        """A message has come from the peer itself, with a heartbeat not older than the last one."""
        if self.timed_at is not None:
            self.beats = BEAT_DECAY * self.beats + heartbeat - self.heard_heartbeat
            self.beats_s = BEAT_DECAY * self.beats_s + now - self.timed_at
        self.heard_at, self.heard_on, self.heard_heartbeat = now, own_heartbeat, heartbeat
        self.timed_at = now

    def spoke(
        self, heartbeat: int, own_heartbeat: int, now: float, told_by: PeerId, *, is_timed: bool
    ) -> None:
        """Its newest words have come, by whatever way; `is_timed`: this agent's clock is what it was then."""
        if bool(told_by) != bool(self.told_by):  # by another way, and maybe at another pace
            self.news_beats = self.news_beats_s = 0.0
        elif is_timed and self.spoke_heartbeat >= 0:
            self.news_beats = BEAT_DECAY * self.news_beats + heartbeat - self.spoke_heartbeat
            self.news_beats_s = BEAT_DECAY * self.news_beats_s + now - self.spoke_at
        self.spoke_at, self.spoke_on, self.spoke_heartbeat = now, own_heartbeat, heartbeat
        self.told_by = told_by

    def renew(self, incarnation: int) -> None:
        """The peer has started anew: its heartbeat counts from the beginning."""
        self.incarnation = incarnation
        self.heartbeat = self.spoke_heartbeat = self.heard_heartbeat = -1
        self.is_believed, self.rises, self.left = False, 0, False
        self.heard_at = self.timed_at = None
        self.hears, self.accuses, self.told = None, (), None
        self.patience, self.beats, self.beats_s = 1.0, 0.0, 0.0
        self.news_beats = self.news_beats_s = 0.0


def who_makes_room(lives: Mapping[PeerId, Life]) -> PeerId:
    """Who is forgotten for a stranger that speaks itself: the longest silent of the crowd that fills all.

    Strangers that nobody believes yet, if they are more than half; then those known by hearsay alone. Neither
    kind, which are easily made up, can drive out the other or who is heard itself.
    """
    strangers = [peer for peer, life in lives.items() if not life.is_believed]
    hearsay = [peer for peer, life in lives.items() if life.is_believed and life.vouched < 0]
    crowd = strangers if len(strangers) > len(lives) // 2 else hearsay or strangers or list(lives)
    return min(crowd, key=lambda peer: (lives[peer].rose_on, peer))


def who_is_forgotten(lives: Mapping[PeerId, Life]) -> PeerId:
    """Who would be first to make room for hearsay: one believed by nobody, then the longest silent."""
    return min(lives, key=lambda peer: (lives[peer].is_believed, lives[peer].rose_on, peer))
