"""The agent as a state machine: inputs are values, time is an argument, outputs are effects and events.

    phase       pushes  steps  leaves it when                                  next
    LISTENING   no      no     heard every block for a while                   WARMING_UP, in the epoch heard
                               heard nobody for `listen_s_max`                 RUNNING, in an epoch of its own
    WARMING_UP  yes     no     `warm_up_ticks` of a typical peer have passed   RUNNING
    RUNNING     yes     yes    -
    any                        a higher epoch is heard                         WARMING_UP, or LISTENING if it
                                                                               is new there or far behind
    any                        membership or precision asks for a new epoch    WARMING_UP

It knows no sockets, clock, threads or torch. A driver feeds `receive`, `peer_found`, `handle_timer` (at
`next_deadline`), `computed` and `leave`, and after each carries out `take_effects` in order. Whatever comes
between two ticks is decided at the next tick, so a computation owns the solver while it runs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from peer.admission import EPOCH_JUMP_MAX, EPOCH_MAX, EpochRate, check_arrays, check_member, check_origin
from peer.algebra import V
from peer.checkpoint_schedule import CheckpointSchedule
from peer.events import (
    Checkpoint,
    Compute,
    EpochEntered,
    ListeningStarted,
    Outputs,
    PeerDeparted,
    Persist,
    Reach,
    Send,
    TickResult,
)
from peer.inbox import Inbox, add_shares
from peer.joining import Listening
from peer.membership import BEACONS_PER_TICK, Membership
from peer.orders import Orders
from peer.pace import Pace
from peer.partners import Partners
from peer.phase import Phase
from peer.progress import Progress
from peer.speaker import Speaker, addressed
from peer.tuning.tuner import Network
from wire import DecodeError, RejectReason

if TYPE_CHECKING:
    import random

    from peer.admission import Identity
    from peer.algebra import Algebra
    from peer.peer_table import PeerTable
    from peer.settings import AgentSettings
    from peer.snapshot import Snapshot
    from peer.solver import Solver
    from wire import PeerId, Push

SLEEP_TICKS = 10.0  # without any input: an agent that was stopped for longer judges nobody by that time
GOODBYES = 3  # nobody answers, and one may be lost


class Agent(Outputs[V]):
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
        super().__init__()
        self.speaker: Speaker[V] = Speaker(identity, settings, now)
        self.solver = solver
        self.settings = settings
        self.phase = Phase.LISTENING
        self.epoch = 0  # none entered yet
        self.ticks = 0
        self.out_neighbours: tuple[PeerId, ...] = ()
        self.progress = Progress()
        self.pace = Pace(settings.tick_s)
        self.membership = Membership(identity, settings, self.pace)
        self._algebra = algebra
        self._rng = rng
        self._founder = founder
        self._founding_epoch = epoch_floor + 1
        self._floor = epoch_floor  # the last epoch entered; none up to it may be entered (again)
        self.inbox: Inbox[V] = Inbox(add_shares if settings.solver == "push-sum-shares" else None)
        self._computing = False
        self._next_tick_at = now + rng.random() * settings.tick_s
        self._awake_at = now
        self._left = False
        self._listening: Listening[V] = Listening(settings, self._founding_epoch, now)
        self._entered_at = now
        self._pushed_at = -math.inf
        self._partners = Partners()
        self._epochs = EpochRate()
        self._checkpoints = CheckpointSchedule(settings, now)
        self._departed: list[PeerId] = []  # whose history the solver may forget

    @property
    def identity(self) -> Identity:
        """Who this agent is."""
        return self.speaker.identity

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from what a former life has kept, before any input. Raises `SnapshotError`."""
        self.solver.restore(snapshot)
        self.progress.restore(snapshot.part("progress"))

    def listens_at(self, address: str) -> None:
        """Others are told this address from now on."""
        self.speaker.identity = replace(self.speaker.identity, address=address)

    @property
    def peers(self) -> PeerTable:
        """Who is believed alive."""
        return self.membership.peers

    # ---- inputs, and when time is the next

    def peer_seen(self, peer: PeerId, incarnation: int, now: float) -> None:
        """Somebody who must know (the starter of a swarm, a scenario) says that this peer lives."""
        self.membership.name(peer, incarnation, now)
        self._follow_membership()

    def peer_found(self, peer: PeerId, now: float, address: str = "", *, introduce: bool = True) -> None:
        """Discovery says that this peer can be contacted; its heartbeat will tell whether it lives."""
        self.membership.find(peer, now, address, introduce=introduce)
        self._follow_membership()

    def peer_gone(self, peer: PeerId, now: float, incarnation: int | None = None) -> None:  # noqa: ARG002  (an input has its time)
        """Somebody who must know says that this peer, up to this incarnation, is no more."""
        self.membership.remove(peer, incarnation)
        self._follow_membership()

    def receive(self, push: Push[V], now: float) -> None:
        """File one message for the next tick.

        Raises `wire.DecodeError` with the reason if it cannot be meant for this agent, or is not believed;
        what was filed before is unchanged then.
        """
        self._stay_awake(now)
        check_origin(push, self.identity, self.epoch or self._floor)
        if push.arrays:
            check_arrays(push, self.solver, self._algebra)
        if self.membership.is_shunned(push.sender):
            raise DecodeError(RejectReason.QUARANTINED, f"sender {push.sender!r} is not believed for now")
        self.membership.receive(push, now)
        self._follow_membership()
        if push.epoch:
            self._listening.swarm_seen(now)
        if not push.arrays and self.peers.incarnation(push.sender) != push.incarnation:
            return
        check_member(push, self.peers.incarnation(push.sender))
        self._listening.told(push.sender, push.epoch)
        if self.phase is Phase.LISTENING:
            self.membership.time(push)
        if self.epoch:
            self._epochs.note(push, self.epoch, self._epoch_s_min() / 2, now)
        if push.arrays:
            self.inbox.put(push, lowest_epoch=self.epoch)

    def leave(self, now: float) -> None:
        """Say goodbye, so that nobody waits for silence. Nothing is sent afterwards.

        What was learned is kept, unless a computation is under way.
        """
        self.membership.liveness.beat(now)  # newer than anything said before
        for _ in range(GOODBYES):
            self._send_beacon(tuple(self.membership.believed()), left=True)
        self._left = True
        if self._checkpoints.is_used and not self._computing:
            self._keep(self.solver.snapshot())

    def _follow_membership(self) -> None:
        """Pass on what became of peers."""
        for event in self.membership.take_events():
            self._events.append(event)
            if isinstance(event, PeerDeparted):
                self.inbox.forget(event.peer)
                self._departed.append(event.peer)
        self._effects.extend(Reach(peer, address) for peer, address in self.membership.take_found())

    def handle_timer(self, now: float) -> None:
        """Begin a tick if one is due and the last has been computed; otherwise nothing."""
        if self._computing or self._left or now < self._next_tick_at:
            return
        self._keep_time(now)
        self.membership.tick(now, self.out_neighbours, self._entered_at)
        self._follow_membership()
        self._choose_epoch(now)
        if self.phase is Phase.LISTENING:
            self._listen(now)
        else:
            self._begin_tick(now)
        at_most = self.speaker.beacons_affordable(BEACONS_PER_TICK, now)
        self._send_beacon(self.membership.beacons(now, self.out_neighbours, now - self._pushed_at, at_most))

    def computed(self, result: TickResult[V], now: float) -> None:
        """Take back what `Compute` gave: its pushes go out."""
        self._computing = False
        if self._left:
            return
        self._next_tick_at = max(self._next_tick_at, now)
        self._events.extend(
            self.progress.take(result.report, self.ticks, running=self.phase is Phase.RUNNING)
        )
        for peer, objection in result.report.objections:
            self.membership.quarantine(peer, objection, now)
            self.inbox.forget(peer)
        self._follow_membership()
        if result.pushes:
            self._pushed_at = now
        for push in result.pushes:
            self._send(self.out_neighbours, push)
        if result.snapshot is not None:
            self._keep(result.snapshot)

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called; None during a computation, and after `leave`."""
        return None if self._computing or self._left else self._next_tick_at

    # ---- ticks

    def _stay_awake(self, now: float) -> None:
        asleep_s = now - self._awake_at
        if asleep_s > SLEEP_TICKS * self.pace.own_s:
            self.membership.liveness.slept(asleep_s, now)
        self._awake_at = now

    def _keep_time(self, now: float) -> None:
        settings = self.settings
        self._stay_awake(now)
        self.pace.ticked(now)
        jitter = 1.0 + settings.tick_jitter * (2.0 * self._rng.random() - 1.0)
        wait_s = self.pace.interval_s(self.membership.liveness.typical_delay_s(), settings.ticks_per_delay)
        self._next_tick_at = max(self._next_tick_at + wait_s * jitter, now)  # never a backlog

    def _begin_tick(self, now: float) -> None:
        settings = self.settings
        self.ticks += 1
        while self._departed:
            self.solver.forget(self._departed.pop())
        pushes = self._partners.admit(self.inbox.take(self.epoch), self.membership, now)
        warm_s = self.progress.warm_up_ticks(settings) * self.pace.typical_s()  # not in own ticks
        if self.phase is Phase.WARMING_UP and now >= self._entered_at + warm_s:
            self.phase = Phase.RUNNING
        moving = self.phase is Phase.RUNNING
        hyper_is_due = moving and self.ticks % settings.hyper_every == 0
        orders = Orders(
            copies=len(self.out_neighbours),
            moving=moving,
            hyper_step_size=self.progress.hyper_step_size(settings) if hyper_is_due else 0.0,
            evaluate=settings.evaluate_every > 0 and self.ticks % settings.evaluate_every == 0,
            blocks_max=self.speaker.blocks_affordable(
                self.solver.numbers_per_block, len(self.solver.spans), len(self.out_neighbours), now
            ),
            network=Network.seen_by(self.membership, self.pace),
        )
        template, keep = self._beacon(left=False), self._checkpoints.is_due(self.ticks, now)
        self._computing = True
        self._effects.append(Compute(partial(self._work, pushes, orders, template, keep)))

    def _work(self, pushes: list[Push[V]], orders: Orders, template: Push[V], keep: bool) -> TickResult[V]:
        """Runs off the loop. Reads nothing of the agent that an input could change meanwhile."""
        blocks, report = self.solver.tick(pushes, orders)
        snapshot = self.solver.snapshot() if keep else None
        return TickResult(self.speaker.pushes(template, self.out_neighbours, blocks), report, snapshot)

    def _keep(self, snapshot: Snapshot[V]) -> None:
        self._effects.append(Checkpoint(snapshot.within("progress", self.progress.snapshot())))

    def _beacon(self, *, left: bool) -> Push[V]:
        return self.speaker.beacon(
            epoch=0 if self.phase is Phase.LISTENING else self.epoch,
            tick=self.ticks,
            tick_interval_s=self.pace.own_s,
            digest=self.membership.digest(self.identity.address, left=left),
        )

    def _send_beacon(self, targets: tuple[PeerId, ...], *, left: bool = False) -> None:
        """Tell peers that get no push that this agent lives, or that it leaves; nobody else believes it."""
        if targets:
            for told, beacon in addressed(self._beacon(left=left), targets):
                self._send(told, beacon)

    def _send(self, targets: tuple[PeerId, ...], push: Push[V]) -> None:
        self._effects.append(Send(targets, push))
        self.membership.sent(targets)
        self.speaker.spend(push, len(targets))

    # ---- epochs and membership

    def _choose_epoch(self, now: float) -> None:
        """Adopt the highest epoch heard; or begin one, if membership or precision ask and it is time."""
        if self._founder and self._floor < self._founding_epoch:  # once: `epoch` may be 0 again, see below
            self._found(self._founding_epoch, "founded", now)
        listens = self.phase is Phase.LISTENING
        if listens and self.epoch > self._listening.believable():
            self.epoch = self._epochs.told = 0  # told by one, before the others spoke
            self._listening.restart()
        lasts_s, shortest_s = now - self._entered_at, self._epoch_s_min()
        is_old = now >= self._entered_at + shortest_s
        leaps = self._epochs.told >= self.epoch + EPOCH_JUMP_MAX  # too far for what is pushed to be taken in
        heard = self.inbox.highest_epoch(self._listening.believable() if listens else EPOCH_MAX)
        if heard > self.epoch:
            if listens or self._partners.ask_to_listen(heard, self.epoch, self.inbox, self.ticks):
                self._start_listening(heard, now)
            else:
                self._enter(heard, "heard of it", now)
        elif leaps and (not self._listening.heard if listens else is_old and not self._partners.met_anyone):
            self._start_listening(self._epochs.told, now)
        elif listens:
            return
        elif self._partners.met_anyone and self._epochs.told > self.epoch:
            self._enter(self._epochs.told, "heard of it", now)  # from a beacon: maybe nobody will push here
        elif is_old or not self._partners.met_anyone:
            if self.membership.changed and self._neighbours_are_wrong(now):
                self._enter(self.epoch + 1, "membership", now)
            elif self.progress.is_too_coarse(self.settings.precision_tolerance, lasts_s, shortest_s):
                self._enter(self.epoch + 1, "precision", now)
            elif self._partners.are_missing(self.membership, shortest_s, now):
                self._enter(self.epoch + 1, "nobody pushes here", now)

    def _epoch_s_min(self) -> float:
        """Counted in the time of the slowest peer, who must have warmed up and stepped in every epoch."""
        ticks = self.settings.epoch_warm_ups_min * self.progress.warm_up_ticks(self.settings)
        return ticks * self.pace.slowest_s()

    def _neighbours_are_wrong(self, now: float) -> bool:
        """Whether mass of this epoch was shared with a peer that is no more, or a new peer is left out."""
        drawn = self.membership.draw(self.epoch, now, choosing=False)
        if self._partners.are_wrong(self.membership) or drawn != self.out_neighbours:
            return True
        self.membership.changed = False
        return False

    def _found(self, epoch: int, reason: str, now: float) -> None:
        """Enter an epoch with those known now: all have one initial model, nothing is to be averaged yet."""
        self._enter(epoch, reason, now)
        self._partners.found(self.peers.alive())
        self.phase = Phase.RUNNING

    def _enter(self, epoch: int, reason: str, now: float) -> None:
        """Make the number durable, draw out-neighbours, start all mass afresh. DESIGN (Epochs)."""
        assert epoch > self._floor, "no identity enters an epoch twice"
        self.epoch = self._floor = epoch
        self.phase = Phase.WARMING_UP
        self._entered_at = self._pushed_at = now  # the first pushes of the epoch are about to be made
        self.out_neighbours = self.membership.draw(epoch, now, choosing=True)
        self.membership.entered(epoch)
        self._partners.begin(self.out_neighbours, self.membership, now)
        self.progress.restart(self.settings.precision_tolerance)
        self.solver.enter_epoch()
        self._effects.append(Persist(epoch))
        self._events.append(EpochEntered(epoch, reason, self.out_neighbours))

    # ---- joining

    def _start_listening(self, epoch: int, now: float) -> None:
        if self.phase is not Phase.LISTENING:
            self.phase = Phase.LISTENING
            self._listening.begin(now)
        self.epoch = epoch  # not entered: nothing is pushed in it until `_enter`
        self._listening.restart()
        self._events.append(ListeningStarted(epoch))

    def _listen(self, now: float) -> None:
        """Gather the newest estimates heard; when they are complete, start from their mean."""
        listening = self._listening
        for push in self.inbox.take(self.epoch, entered=self._floor):
            listening.hear(push, now)
            self.membership.time(push)
        blocks, typical_s = len(self.solver.spans), self.pace.typical_s()
        if listening.is_over(blocks, typical_s, self._epoch_s_min(), len(self.peers), now):
            epoch = max(self.epoch, self._floor + 1)
            if not listening.heard:
                self._found(epoch, "nobody heard", now)
                return
            if self.epoch == self._founding_epoch:
                epoch = max(epoch, self.epoch + 1)  # who was heard founded it, and others may yet
            self.solver.replace_estimates(listening.heard)
            listening.restart()
            self._partners.met_anyone = True
            self._enter(epoch, "joined", now)
