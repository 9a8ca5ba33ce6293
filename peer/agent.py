"""The agent as a state machine: inputs are values, time is an argument, outputs are effects and events.

    phase       pushes  steps  leaves it when                                  next
    LISTENING   no      no     heard every block for a while                   WARMING_UP, in the epoch heard
                               heard nobody for `listen_s_max`                 RUNNING, in an epoch of its own
    WARMING_UP  yes     no     `warm_up_ticks` of a typical peer have passed   RUNNING
    RUNNING     yes     yes    -
    any                        a higher epoch is heard                         WARMING_UP, or LISTENING if it
                                                                               is new there or far behind
    any                        membership or precision asks for a new epoch    WARMING_UP

It knows no sockets, clock, threads or torch. A driver feeds `receive`, `peer_seen`, `peer_gone`,
`handle_timer` (at `next_deadline`) and `computed`, and after each carries out `take_effects` in order.
Whatever comes between two ticks is decided at the next tick, so a computation owns the solver while it runs.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic

from peer.admission import check_arrays, check_origin
from peer.algebra import V
from peer.events import (
    Compute,
    Effect,
    EpochEntered,
    Event,
    HyperRateLowered,
    ListeningStarted,
    NonFiniteStep,
    PeerArrived,
    PeerDeparted,
    Persist,
    Send,
    TickResult,
)
from peer.hyper_schedule import HyperSchedule, Residual
from peer.inbox import Inbox
from peer.learner import TickReport
from peer.pace import Pace
from peer.peer_table import PeerTable
from peer.solver import Orders, Solver
from peer.topology import out_neighbours
from wire import Push

if TYPE_CHECKING:
    import random

    from peer.admission import Identity
    from peer.algebra import Algebra
    from peer.settings import AgentSettings
    from wire import PeerId


class Phase(enum.Enum):
    """What the agent takes part in; see the table above."""

    LISTENING = "listening"
    WARMING_UP = "warming up"
    RUNNING = "running"


class Agent(Generic[V]):
    """One learning agent.

    Invariant (9) holds over all agents of the highest epoch, with messages in the inbox counted as on their
    link. No epoch is entered twice by one identity: `epoch_floor` is the last number made durable by
    `Persist`.
    """

    def __init__(
        self,
        identity: Identity,
        solver: Solver[V],
        algebra: Algebra[V],
        settings: AgentSettings,
        *,
        rng: random.Random,
        now: float,
        founder: bool,
        epoch_floor: int = 0,
    ) -> None:
        self.identity = identity
        self.solver = solver
        self.settings = settings
        self.peers = PeerTable()
        self.phase = Phase.LISTENING
        self.epoch = 0  # none entered yet
        self.ticks = 0
        self.out_neighbours: tuple[PeerId, ...] = ()
        self.report = TickReport()
        self.residuals = (Residual(), Residual())  # model, adjoint
        self.hyper_schedule = HyperSchedule()
        self.pace = Pace(settings.tick_s)
        self._algebra = algebra
        self._rng = rng
        self._founder = founder
        self._founding_epoch = epoch_floor + 1
        self._floor = epoch_floor  # no epoch up to this one may be entered (again)
        self._effects: list[Effect[V]] = []
        self._events: list[Event] = []
        self.inbox: Inbox[V] = Inbox(_add_shares if settings.solver == "push-sum-shares" else None)
        self._computing = False
        self._next_tick_at = now + rng.random() * settings.tick_s
        self._listening_since = now
        self._heard: dict[tuple[PeerId, int], Push[V]] = {}  # while listening
        self._heard_since: float | None = None
        self._entered_at = now
        self._partners: dict[PeerId, int] = {}  # whom mass of this epoch was shared with, by incarnation
        self._membership_changed = False
        self._met_anyone = False
        self._founding_members: frozenset[PeerId] | None = None  # known when this epoch was founded
        self._stranger_waits = False
        self._spacing = 0.0

    # ---- inputs

    def peer_seen(self, peer: PeerId, incarnation: int, now: float) -> None:  # noqa: ARG002  (an input has its time)
        """Discovery or a scenario says that this peer lives."""
        if peer != self.identity.peer and self.peers.seen(peer, incarnation):
            self._membership_changed = True
            self._events.append(PeerArrived(peer, incarnation))

    def peer_gone(self, peer: PeerId, now: float, incarnation: int | None = None) -> None:  # noqa: ARG002  (as above)
        """Discovery or a scenario says that this peer, up to this incarnation, is no more."""
        if self.peers.gone(peer, incarnation):
            self._membership_changed = True
            self.pace.forget(peer)
            self.inbox.forget(peer)
            self._events.append(PeerDeparted(peer))

    def receive(self, push: Push[V], now: float) -> None:
        """File one message for the next tick.

        Raises `wire.DecodeError` with the reason if it cannot be meant for this agent; state is then
        unchanged.
        """
        check_origin(push, self.identity, self.peers.incarnation(push.sender), self.epoch)
        check_arrays(push, self.solver, self._algebra)
        if push.incarnation > (self.peers.incarnation(push.sender) or 0):
            self.peer_seen(push.sender, push.incarnation, now)
        self.inbox.put(push, lowest_epoch=self.epoch)

    def handle_timer(self, now: float) -> None:
        """Begin a tick if one is due and the last has been computed; otherwise nothing."""
        if self._computing or now < self._next_tick_at:
            return
        self._keep_time(now)
        self._choose_epoch(now)
        if self.phase is Phase.LISTENING:
            self._listen(now)
        else:
            self._begin_tick(now)

    def computed(self, result: TickResult[V], now: float) -> None:
        """Take back what `Compute` gave: its pushes go out."""
        self._computing = False
        self._next_tick_at = max(self._next_tick_at, now)
        report = result.report
        if not report.metrics:
            report.metrics = self.report.metrics
        self.report = report
        self._spacing = max(self._spacing, report.sum_spacing)
        if not report.step_is_finite:
            self._events.append(NonFiniteStep(self.ticks))
        else:
            if self.phase is Phase.RUNNING:  # in the warm-up trackers wait, and say nothing of the answer
                self.residuals[0].add(report.model_residual)
                self.residuals[1].add(report.adjoint_residual)
            self._watch_hyper_step(report)
        self._effects.extend(Send(self.out_neighbours, push) for push in result.pushes)

    def _watch_hyper_step(self, report: TickReport) -> None:
        if report.hyper is None:
            return
        reason = self.hyper_schedule.update(report.hyper, self.residual())
        if reason is not None:
            self._events.append(HyperRateLowered(self.hyper_schedule.factor, reason))

    # ---- outputs

    def residual(self) -> float:
        """How far from settled: smoothed |tracker| to |own gradient|, the larger ratio of the two streams."""
        return max(residual.ratio() for residual in self.residuals)

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called; None while a computation is outstanding."""
        return None if self._computing else self._next_tick_at

    def take_effects(self) -> list[Effect[V]]:
        """What the driver must do now, in this order."""
        effects, self._effects = self._effects, []
        return effects

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    # ---- ticks

    def _keep_time(self, now: float) -> None:
        settings = self.settings
        self.pace.ticked(now)
        jitter = 1.0 + settings.tick_jitter * (2.0 * self._rng.random() - 1.0)
        self._next_tick_at += settings.tick_s * jitter
        if self._next_tick_at < now:  # the machine cannot keep up: no backlog of ticks
            self._next_tick_at = now

    def _begin_tick(self, now: float) -> None:
        settings = self.settings
        self.ticks += 1
        pushes = self._without_strangers(self.inbox.take(self.epoch))
        for push in pushes:
            self._partners[push.sender] = push.incarnation
            self.pace.heard(push.sender, push.tick_interval_s)
        self._met_anyone = self._met_anyone or bool(pushes)
        if self.phase is Phase.WARMING_UP:
            self._end_warm_up(now)
        moving = self.phase is Phase.RUNNING
        hyper_is_due = moving and self.ticks % settings.hyper_every == 0
        orders = Orders(
            copies=len(self.out_neighbours),
            moving=moving,
            hyper_step_size=self._hyper_step_size() if hyper_is_due else 0.0,
            evaluate=settings.evaluate_every > 0 and self.ticks % settings.evaluate_every == 0,
        )
        self._computing = True
        self._effects.append(Compute(partial(self._work, pushes, orders, self.ticks)))

    def _work(self, pushes: list[Push[V]], orders: Orders, tick: int) -> TickResult[V]:
        """Runs off the loop. Reads nothing of the agent that an input could change meanwhile."""
        blocks, report = self.solver.tick(pushes, orders)
        own = self.identity
        return TickResult(
            tuple(
                Push(
                    swarm=own.swarm,
                    fingerprint=own.fingerprint,
                    sender=own.peer,
                    incarnation=own.incarnation,
                    epoch=self.epoch,
                    block=block.block,
                    sequence=block.sequence,
                    tick=tick,
                    tick_interval_s=self.pace.own_s,
                    address=own.address,
                    arrays=block.arrays,
                )
                for block in blocks
            ),
            report,
        )

    def _hyper_step_size(self) -> float:
        """The rate of the next hyper step, lowered if the last ones went too far."""
        return self.settings.hyper_step_size * self.hyper_schedule.factor

    # ---- epochs and membership

    def _end_warm_up(self, now: float) -> None:
        """Step again, when a typical peer has averaged long enough: count in its time, not in own ticks."""
        if now >= self._entered_at + self.settings.warm_up_ticks * self.pace.typical_s():
            self.phase = Phase.RUNNING

    def _choose_epoch(self, now: float) -> None:
        """Adopt the highest epoch heard; or begin one, if membership or precision ask and it is time."""
        if self._founder and self.epoch == 0:
            self._found(self._founding_epoch, "founded", now)
        heard = self.inbox.highest_epoch()
        if heard > self.epoch:
            if self.phase is Phase.LISTENING or self._must_listen(heard):
                self._start_listening(heard, now)
            else:
                self._enter(heard, "heard of it", now)
        elif self.phase is not Phase.LISTENING and (
            not self._met_anyone or now >= self._entered_at + self._epoch_s_min()
        ):
            if self._membership_changed and self._neighbours_are_wrong():
                self._enter(self.epoch + 1, "membership", now)
            elif 0 < self.settings.precision_tolerance < self._spacing:
                self._enter(self.epoch + 1, "precision", now)

    def _epoch_s_min(self) -> float:
        """Counted in the time of the slowest peer, who must have warmed up and stepped in every epoch."""
        return self.settings.epoch_warm_ups_min * self.settings.warm_up_ticks * self.pace.slowest_s()

    def _must_listen(self, heard: int) -> bool:
        """Far behind, or alone so far while the others have come further."""
        if heard > self.epoch + 1:
            return True
        return not self._met_anyone and self.inbox.highest_tick() > self.ticks

    def _neighbours_are_wrong(self) -> bool:
        """Whether mass of this epoch was shared with a peer that is no more, or a new peer is left out."""
        if any(self.peers.incarnation(peer) != known for peer, known in self._partners.items()):
            return True
        if self._stranger_waits or self._draw_neighbours(self.epoch) != self.out_neighbours:
            return True
        self._membership_changed = False
        return False

    def _draw_neighbours(self, epoch: int) -> tuple[PeerId, ...]:
        own = self.identity
        return out_neighbours(
            own.peer, self.peers.alive(), fanout=self.settings.fanout, swarm=own.swarm, epoch=epoch
        )

    def _without_strangers(self, pushes: list[Push[V]]) -> list[Push[V]]:
        """In an epoch founded apart, let those who were not known then wait for the next one.

        Two swarms, or a swarm and a newcomer, may have founded the same number; what has come further must
        not be averaged with a model at its start. A message not absorbed is a message lost: nothing is wrong
        by it once the next epoch has begun, and there the one that is behind listens first.
        """
        if self._founding_members is None:
            return pushes
        known = [push for push in pushes if push.sender in self._founding_members]
        if len(known) < len(pushes):
            self._stranger_waits = self._membership_changed = True
        return known

    def _found(self, epoch: int, reason: str, now: float) -> None:
        """Enter an epoch with those known now: all have one initial model, nothing is to be averaged yet."""
        self._enter(epoch, reason, now)
        self._founding_members = frozenset(self.peers.alive())
        self.phase = Phase.RUNNING

    def _enter(self, epoch: int, reason: str, now: float) -> None:
        """Make the number durable, draw out-neighbours, start all mass afresh. DESIGN (Epochs)."""
        self.epoch = epoch
        self.phase = Phase.WARMING_UP
        self._entered_at = now
        self.out_neighbours = self._draw_neighbours(epoch)
        self._partners = {peer: self.peers.incarnation(peer) or 0 for peer in self.out_neighbours}
        self._spacing = 0.0
        self.residuals = (Residual(), Residual())
        self.hyper_schedule.restart()
        self._founding_members = None
        self._stranger_waits = False
        self.solver.enter_epoch()
        self._effects.append(Persist(epoch))
        self._events.append(EpochEntered(epoch, reason, self.out_neighbours))

    # ---- joining

    def _start_listening(self, epoch: int, now: float) -> None:
        if self.phase is not Phase.LISTENING:
            self.phase = Phase.LISTENING
            self._listening_since = now
        self._floor = max(self._floor, self.epoch)
        self.epoch = epoch  # not entered: nothing is pushed in it until `_enter`
        self._heard.clear()
        self._heard_since = None
        self._events.append(ListeningStarted(epoch))

    def _listen(self, now: float) -> None:
        """Gather the newest estimates heard; when they are complete, start from their mean."""
        for push in self.inbox.take(self.epoch):
            self._heard[push.sender, push.block] = push
            self.pace.heard(push.sender, push.tick_interval_s)
            if self._heard_since is None:
                self._heard_since = now
        complete = len({block for _, block in self._heard}) == len(self.solver.spans)
        listened_s = now - self._heard_since if self._heard_since is not None else 0.0
        wanted_s = self.settings.listen_ticks * self.pace.typical_s()
        if (complete and listened_s >= wanted_s) or now - self._listening_since >= self._patience_s():
            epoch = max(self.epoch, self._floor + 1)
            if not self._heard:
                self._found(epoch, "nobody heard", now)
                return
            if self.epoch == self._founding_epoch:
                epoch = self.epoch + 1  # who was heard founded it, and others may yet: leave it behind
            self.solver.replace_estimates(self._heard)
            self._heard.clear()
            self._met_anyone = True
            self._enter(epoch, "joined", now)

    def _patience_s(self) -> float:
        """How long to listen. Who comes back to others gives them time to begin an epoch with it.

        The number it would found is often the one they are in, and its own model is at its start.
        """
        comes_back = self._founding_epoch > 1 and len(self.peers) > 0 and not self._heard
        return self.settings.listen_s_max + (self._epoch_s_min() if comes_back else 0.0)


def _add_shares(older: Push[V], newer: Push[V]) -> Push[V]:
    """Two messages that carry shares both count, where running sums need only the newer."""
    arrays = tuple(old + new for old, new in zip(older.arrays, newer.arrays, strict=True))
    return replace(newer, arrays=arrays)
