"""One tick of the mathematics: absorb, average, differentiate, push. DESIGN (4)-(8) for both streams at once.

The streams of model and adjoint travel in the same messages: one sequence number per block, four arrays. The
order within a tick is that of DESIGN: absorb (8), average (5), a fresh gradient (6), K local steps (4), push
(7), so that a message carries the freshest step and the freshest mass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from peer.algebra import Algebra, V
from peer.learner import TickReport
from peer.local_steps import LocalSteps
from peer.orders import BlockPush
from peer.plausibility import Claim, Plausibility
from peer.snapshot import Snapshot, SnapshotError
from peer.streams import make_stream
from peer.tuning.tuner import Tuner

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from peer.algebra import Span
    from peer.inner_optimizer import InnerOptimizer
    from peer.learner import Learner
    from peer.orders import Orders
    from peer.settings import AgentSettings
    from peer.tracking import Stream
    from peer.tuning.tuner import Steps
    from wire import PeerId, Push

SPACING_CHECK_TICKS = 64  # the largest running sum is looked up only so often: it moves slowly
STEPS_TO_GO = 50  # from where an agent is; a step that is stable is a small share of the way
MESSAGES_PER_TICK_MAX = 100  # of one block on one link: a sender may be that much faster
DISAGREEMENT_TICKS = 16  # so is the distance to the neighbours, which only people read


class Solver(Generic[V]):
    """Both streams of one agent, its learner, and the blocks' sequence numbers.

    Not thread-safe: the agent hands it to one computation at a time.
    """

    def __init__(
        self,
        learner: Learner[V],
        algebra: Algebra[V],
        settings: AgentSettings,
        spans: Sequence[Span],
        rng: random.Random,
        tuner: Tuner[V] | None = None,
        optimizer: InnerOptimizer[V] | None = None,
    ) -> None:
        self._optimizer = optimizer  # of the model; None: plain descent
        self.learner = learner
        self.tuner: Tuner[V] = tuner or Tuner(settings, algebra)
        self.spans = tuple(spans)
        self._algebra = algebra
        self._settings = settings
        initial = learner.initial_model
        self.model = make_stream(settings.solver, initial, algebra, self.spans)
        self.adjoint = make_stream(settings.solver, algebra.copy(initial) * 0, algebra, self.spans)
        self.streams = (self.model, self.adjoint)
        self._array_lengths = [
            self.model.array_lengths(span) + self.adjoint.array_lengths(span) for span in self.spans
        ]
        self._sequences = [0] * len(self.spans)
        self._order = list(range(len(self.spans)))
        rng.shuffle(self._order)  # so that agents do not all push the same block at the same time
        self._cursor = 0
        self._credit = 0.0
        self._ticks = 0
        self._plausibility = Plausibility()
        self._absorbed: dict[tuple[PeerId, int], tuple[int, int]] = {}  # last sequence, and own tick then
        self._entered_on = 0  # own tick
        self._walk = LocalSteps(self.model, self.adjoint, algebra, optimizer)
        self._joined: tuple[tuple[V, ...], list[PeerId]] | None = None  # estimates before, and who was heard

    def array_lengths(self, block: int) -> tuple[int, ...]:
        """Elements of each array in a message about this block: model's, then adjoint's."""
        return self._array_lengths[block]

    @property
    def numbers_per_block(self) -> int:
        """In one message of usual length."""
        return sum(self.array_lengths(0))

    def enter_epoch(self) -> None:
        """Start the mass of both streams afresh and count sequences from one."""
        for stream in self.streams:
            stream.enter_epoch()
        self._sequences = [0] * len(self.spans)
        self._absorbed.clear()
        self._entered_on = self._ticks
        self.tuner.enter_epoch()

    def replace_estimates(self, heard: dict[tuple[PeerId, int], Push[V]]) -> None:
        """Set both estimates to the mean of what was heard, block by block; blocks not heard stay.

        What cannot be true is left out. Its sender is not judged: the agent has no history yet; the next tick
        looks once more at what has come of it.
        """
        copies = tuple(self._algebra.copy(stream.estimate) for stream in self.streams)
        self._joined = (copies, sorted({source for source, _ in heard}))
        by_block: dict[int, list[Push[V]]] = {}
        for key in sorted(heard):
            by_block.setdefault(key[1], []).append(heard[key])
        for block, pushes in by_block.items():
            for index, stream in enumerate(self.streams):
                announced = [stream.announced_estimate(_arrays_of(push, index)) for push in pushes]
                believable = self._plausibility.believable(
                    index, [self._algebra.norm(one) for one in announced]
                )
                kept = [one for one, holds in zip(announced, believable, strict=True) if holds]
                if kept:
                    total = sum(kept[1:], start=self._algebra.copy(kept[0]))
                    stream.replace_estimate(self.spans[block], total / len(kept))

    def tick(self, pushes: Sequence[Push[V]], orders: Orders) -> tuple[tuple[BlockPush[V], ...], TickReport]:
        """Absorb these messages, average, step, and prepare the next messages.

        A message that cannot be true is not absorbed, nor any further one of its sender; the report says why.
        If any derivative is not finite, or where it leads to, estimates, trackers and hyperparameters stay as
        they were after averaging.
        """
        if self._joined or (pushes and not self._plausibility.knows_itself):
            doubts = self._look_around()
            pushes = [push for push in pushes if push.sender not in dict(doubts)]
            objections = doubts + self._absorb(pushes)
        else:
            objections = self._absorb(pushes)
        disagreements = self._disagreements(pushes) if self._ticks % DISAGREEMENT_TICKS == 0 else {}
        way = self.model.mix(measure=self.tuner.chooses)
        self.adjoint.mix()
        steps = self.tuner.begin([push.sender for push in pushes], orders.network, len(self.spans))
        report = self._learn(orders, steps, way)
        report.objections, report.disagreements = objections, disagreements
        report.tuning = self.tuner.tuning
        for index, stream in enumerate(self.streams):
            length = 0.0
            if self.tuner.is_ready:
                step = self._algebra.norm_of_multiple(stream.gradient, (steps.model, steps.adjoint)[index])
                length = max(self._algebra.norm(stream.estimate), STEPS_TO_GO * step)
            self._plausibility.own(index, max(stream.residual()), length)
        self._ticks += 1
        if self._ticks % SPACING_CHECK_TICKS == 0:
            report.sum_spacing = max(stream.spacing() for stream in self.streams)
        if orders.evaluate:
            report.metrics = self.learner.metrics(self.model.estimate)
            self.tuner.scored(report.metrics)
        return self._push(orders), report

    def snapshot(self) -> Snapshot[V]:
        """Copies of what a new epoch does not rebuild."""
        streams = {"model": self.model.estimate, "adjoint": self.adjoint.estimate}
        arrays = {name: self._algebra.copy(estimate) for name, estimate in streams.items()}
        snapshot = Snapshot(arrays, {"ticks": self._ticks}).within("scale", self._plausibility.snapshot())
        snapshot = snapshot.within("tuner", self.tuner.snapshot())
        if self._optimizer is not None:
            snapshot = snapshot.within("optimizer", self._optimizer.snapshot())
        return snapshot.within("learner", self.learner.snapshot())

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there, before the first epoch is entered. Raises `SnapshotError`."""
        whole = slice(0, len(self.model.estimate))
        estimates = [snapshot.array(name, whole.stop) for name in ("model", "adjoint")]
        self.learner.restore(snapshot.part("learner"))
        self._plausibility.restore(snapshot.part("scale"))
        self.tuner.restore(snapshot.part("tuner"))
        kept = snapshot.values.get("optimizer")
        if self._optimizer is not None:
            self._optimizer.restore(snapshot.part("optimizer"))
        elif kept is not None:
            raise SnapshotError("the checkpoint has an optimizer of the model, the agent none")
        for stream, estimate in zip(self.streams, estimates, strict=True):
            stream.replace_estimate(whole, self._algebra.to_mass(estimate))
        ticks = snapshot.values.get("ticks")
        self._ticks = self._entered_on = ticks if isinstance(ticks, int) else 0

    def forget(self, source: PeerId) -> None:
        """The source is gone: its history is, too."""
        self._plausibility.forget(source)

    def _look_around(self) -> tuple[tuple[PeerId, str], ...]:
        """Measure the own gradients before anything is taken in: there is nothing else to compare with.

        Who has just joined goes on from where it was if it has been led to where its gradients are larger
        beyond all measure: it may have heard nobody but a liar, who is named then.
        """
        joined, self._joined = self._joined, None
        if joined is None:
            steps = self.tuner.tuning.steps
            for index, (gradient, step) in enumerate(
                zip(self._gradients(), (steps.model, steps.adjoint), strict=True)
            ):
                # Where learning begins, estimates are next to nothing, and no measure.
                step_length = self._algebra.norm_of_multiple(gradient, step) if self.tuner.is_ready else 0.0
                way = STEPS_TO_GO * step_length
                self._plausibility.own(index, self._algebra.norm(gradient), way)
            return ()
        before, senders = joined
        reached = tuple(self._algebra.copy(stream.estimate) for stream in self.streams)
        after = [self._algebra.norm(gradient) for gradient in self._gradients()]
        self._return_to(before)
        own = [self._algebra.norm(gradient) for gradient in self._gradients()]
        for index, estimate in enumerate(before):
            length = self._algebra.norm(estimate) if self.tuner.is_ready else 0.0
            self._plausibility.own(index, own[index], length)
        wrong = [self._plausibility.is_beyond_own(index, after[index]) for index in range(2)]
        self._return_to((before[0] if wrong[0] else reached[0], before[1] if any(wrong) else reached[1]))
        if not any(wrong) or len(senders) > 1:
            return ()
        index = wrong.index(True)
        told = f"{('model', 'adjoint')[index]}: with its estimate the own gradient is {after[index]:.3g} long"
        return ((senders[0], f"{told}, with the own estimate {own[index]:.3g}"),)

    def _gradients(self) -> tuple[V, V]:
        """Of both streams where they are, on the next batch; nothing moves."""
        found = self.learner.evaluate(self.model.estimate, self.adjoint.estimate, 0.0)
        self.learner.finish_tick(0.0)
        return self._algebra.to_mass(found.model_gradient), self._algebra.to_mass(found.adjoint_gradient)

    def _return_to(self, estimates: tuple[V, ...]) -> None:
        whole = slice(0, len(self.model.estimate))
        for stream, estimate in zip(self.streams, estimates, strict=True):
            stream.replace_estimate(whole, self._algebra.copy(estimate))

    def _absorb(self, pushes: Sequence[Push[V]]) -> tuple[tuple[PeerId, str], ...]:
        objections: dict[PeerId, str] = {}
        for push in sorted(pushes, key=lambda one: one.block):  # so that its own block is near for each
            if push.sender in objections:
                continue
            claims = self._claims(push)
            objection = self._objection(push, claims)
            if objection is not None:
                objections[push.sender] = objection
                continue
            for index, claim in enumerate(claims):
                self._plausibility.believe(push.sender, push.block, index, claim)
            self._absorbed[push.sender, push.block] = (push.sequence, self._ticks)
            self.tuner.hear(push)
            for index, stream in enumerate(self.streams):
                stream.absorb(push.sender, self.spans[push.block], _arrays_of(push, index))
        return tuple(objections.items())

    def _claims(self, push: Push[V]) -> list[Claim]:
        """By stream. Sequence numbers are the sender's word: time bounds them, too."""
        sequence, tick = self._absorbed.get((push.sender, push.block), (0, self._entered_on))
        missed = min(push.sequence - sequence, MESSAGES_PER_TICK_MAX * (1 + self._ticks - tick))
        claims = []
        for index, stream in enumerate(self.streams):
            arrays = _arrays_of(push, index)
            growth, estimate = stream.brought(push.sender, self.spans[push.block], arrays)
            claims.append(Claim(growth, missed, estimate))
        return claims

    def _objection(self, push: Push[V], claims: Sequence[Claim]) -> str | None:
        """Why this message cannot be true."""
        for index, claim in enumerate(claims):
            objection = self._plausibility.objection(push.sender, push.block, index, claim)
            if objection is not None:
                return f"{('model', 'adjoint')[index]}: {objection}"
        return self.tuner.objection(push)

    def _disagreements(self, pushes: Sequence[Push[V]]) -> dict[PeerId, tuple[float, float]]:
        """How far estimates announced are from the own ones, relatively; the last block of each sender."""
        return {
            push.sender: (
                self._distance(self.model, push, 0),
                self._distance(self.adjoint, push, 1),
            )
            for push in pushes
        }

    def _distance(self, stream: Stream[V], push: Push[V], index: int) -> float:
        own = stream.estimate[self.spans[push.block]]
        length = self._algebra.norm(own)
        announced = self._algebra.to_mass(stream.announced_estimate(_arrays_of(push, index)))
        return self._algebra.norm(announced - own) / length if length else float("nan")

    def _learn(self, orders: Orders, sizes: Steps, way: float) -> TickReport:
        """K local steps of both streams along fresh gradients plus what the tracker knows of the others'.

        `way`: how far averaging has moved the model.
        """
        settings, algebra, tuner = self._settings, self._algebra, self.tuner
        moving = orders.moving and tuner.is_ready
        steps = settings.local_steps if moving else 1
        walk = self._walk
        walk.begin(steps, moving=moving)
        probe = tuner.direction(*walk.point, self._direction, way, moving=moving)
        local_step_size = settings.local_step_size
        if local_step_size is None:
            local_step_size = self.learner.local_step_size(sizes.model) if tuner.chooses else sizes.model
        report = TickReport()
        for step in range(steps):
            model, adjoint = walk.point
            if step or probe is None:
                evaluation = self.learner.evaluate(model, adjoint, local_step_size)
            else:
                evaluation = self.learner.evaluate(model, adjoint, local_step_size, probe)
            if evaluation.probe_product is not None:
                tuner.product(evaluation.probe_product, evaluation.adjoint_gradient)
            gradients = evaluation.model_gradient, evaluation.adjoint_gradient
            if not step:
                tuner.felt(self.model.estimate, gradients[0], evaluation.training_loss, moving=moving)
            if moving and (divisor := tuner.divisor(gradients[0])) > 1.0:
                algebra.divide(gradients[0], divisor)
            if sizes.damping:
                algebra.add(gradients[1], adjoint, sizes.damping)
            report.training_loss, report.validation_loss = (
                evaluation.training_loss,
                evaluation.validation_loss,
            )
            if not walk.take(gradients, sizes, holds=evaluation.local_step_is_finite):
                report.step_is_finite = False
                self.learner.finish_tick(0.0)
                for stream in self.streams:
                    stream.rest()
                tuner.pause()
                return report
        walk.finish()
        rate = orders.hyper_step_size if moving else 0.0
        if rate and settings.hyper_step_size is None:
            hyper = self.learner.finish_tick(rate, tuner.settling_ticks)
        else:
            hyper = self.learner.finish_tick(rate)
        report.hypergradient_norm = hyper.norm
        report.hyper = hyper if orders.hyper_step_size and moving else None
        report.model_residual, report.adjoint_residual = self.model.residual(), self.adjoint.residual()
        return report

    def _direction(self) -> V:
        """Where both streams would descend; they undo each other at first where both sets are the same."""
        both = self.model.direction() + self.adjoint.direction()
        return both if self._algebra.norm(both) else self.model.direction()

    def _push(self, orders: Orders) -> tuple[BlockPush[V], ...]:
        """Announce the blocks whose turn it is, as far as the budget allows; the others' turn comes later."""
        copies = orders.copies
        if not copies:
            return ()
        self._credit += self._settings.block_fraction * len(self.spans)
        due, self._credit = int(self._credit), self._credit % 1.0
        if orders.blocks_max is not None:
            due = min(due, orders.blocks_max)
        self.tuner.pushes(due / len(self.spans))
        pushes: list[BlockPush[V]] = []
        for _ in range(due):
            block = self._order[self._cursor]
            self._cursor = (self._cursor + 1) % len(self._order)
            self._sequences[block] += 1
            arrays = tuple(
                array for stream in self.streams for array in stream.push(self.spans[block], copies)
            )
            averages = () if pushes else self.tuner.tell(copies)
            pushes.append(BlockPush(block, self._sequences[block], arrays, averages))
        return tuple(pushes)


def _arrays_of(push: Push[V], stream: int) -> tuple[V, ...]:
    """The two arrays of one stream: model's come first."""
    return push.arrays[2 * stream : 2 * stream + 2]
