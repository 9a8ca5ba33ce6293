"""An agent's part in tuning itself: it measures, tells the others, hears of their averages, and decides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, NamedTuple

from peer.algebra import Scalar, V
from peer.averages import Averages
from peer.snapshot import Snapshot, SnapshotError
from peer.tuning.caution import CAUTION_MIN, Caution
from peer.tuning.clipping import Clipping
from peer.tuning.curvature import PROBES_SURE, AdjointCurvature, LargestCurvature, MotionCurvature
from peer.tuning.mixing import averaging_gap
from peer.tuning.noise import FACTOR_MIN, Wandering
from peer.tuning.rule import Measured, step_and_momentum
from peer.tuning.runaway import Runaway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.algebra import Algebra
    from peer.membership import Membership
    from peer.pace import Pace
    from peer.settings import AgentSettings
    from wire import PeerId, Push

PUSHED_SMOOTHING = 0.02
PUSHED_MIN = 0.01
CONDITION_MAX = 1e4  # no momentum is worth more
UNLIKE_MAX = 30.0  # times the own curvature: no average is believed beyond
KNOWN_LEAST = 0.01  # of the weight of all: fewer than so many have told something yet
HEARD_SMOOTHING = 0.05  # weight of the newest tick
HEARD_STEPS = 20  # shares are rounded to one in so many before a gap is looked up
MOMENTUM_LEAST = 0.25
UNTUNED_STEP = 0.2  # where nothing bends
DAMPING_MARGIN = 1.5  # times what is needed
DAMPING_FADES = 1e-3  # of damping that is not needed now, in every tick


class Told(NamedTuple):
    """What agents tell each other the averages of. The order is that of the wire: new ones come last."""

    measures: float = 0.0  # 1 if the four after it were measured
    curvature: float = 0.0
    motion_curvature: float = 0.0
    heard: float = 0.0
    delay_ticks: float = 0.0
    damps: float = 0.0  # 1 if the two after it were measured
    adjoint_curvature: float = 0.0
    bends_down: float = 0.0  # as far as that is below zero
    scored: float = 0.0  # 1 if the two after it are known
    shared: float = 0.0  # test accuracy of the shared model
    personal: float = 0.0  # and of the personal one
    is_noisy: float = 0.0  # 1 if the one after it counts: gradients are of minibatches
    caution: float = 0.0  # what steps should be multiplied by
    slowness: float = 0.0  # what those of the adjoint should be divided by, if `damps`
    outer: float = 0.0  # length of the gradient of the outer loss, likewise

    @property
    def accuracies(self) -> dict[str, float]:
        """Of those who have any, by name."""
        if self.scored < KNOWN_LEAST:
            return {}
        return {"shared": self.shared / self.scored, "personal": self.personal / self.scored}


@dataclass(frozen=True, slots=True)
class Network:
    """What the agent knows of its network beside what arrives."""

    agents: int = 1  # believed alive, this one included
    delay_ticks: float = 0.0  # of a typical message

    @classmethod
    def seen_by(cls, membership: Membership, pace: Pace) -> Network:
        """What these know of it."""
        delay_s = membership.liveness.typical_delay_s()
        return cls(len(membership.peers) + 1, delay_s / pace.own_s if pace.own_s > 0.0 else 0.0)


ALONE = Network()


@dataclass(frozen=True, slots=True)
class Steps:
    """How far an agent goes in one tick."""

    model: Scalar
    adjoint: Scalar
    momentum: Scalar
    damping: Scalar = 0  # exactly nothing, where nothing is needed


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and why, for people."""

    steps: Steps
    measured: Measured | None = None  # None: nothing was, yet
    noise_factor: float = 1.0  # on the step, see `peer.tuning.noise`
    caution: float = 1.0  # likewise, see `peer.tuning.caution`
    adjoint_factor: float = 1.0  # on the step of the adjoint, see `peer.tuning.runaway`
    is_open: bool = True  # False: all steps were given

    def describe(self) -> str:
        """In one line."""
        steps, found = self.steps, self.measured
        model, adjoint, momentum = float(steps.model), float(steps.adjoint), float(steps.momentum)
        if not self.is_open:
            found = None
        elif found is None:
            return "steps: nothing measured yet"
        damping = f", damping {float(steps.damping):.3g}" if steps.damping else ""
        chosen = f"model {model:.3g}, adjoint {adjoint:.3g}, momentum {momentum:.3g}{damping}"
        if found is None:
            return f"steps as given: {chosen}"
        return (
            f"steps: {chosen}, for curvature {found.curvature:.3g}, condition "
            f"{found.curvature / found.motion_curvature:.3g}, averaging {found.gap:.2g} a tick, heard "
            f"{found.heard:.0%}, delay {found.delay_ticks:.2g} ticks"
            + (f", times {self.noise_factor:.2g} for noise" if self.noise_factor < 1.0 else "")
            + (f", times {self.caution:.2g} for caution" if self.caution < 1.0 else "")
            + (f", adjoint times {self.adjoint_factor:.2g}" if self.adjoint_factor < 1.0 else "")
        )


class Tuner(Generic[V]):
    """Steps of one agent. What its settings give is taken as it is; what they leave open is chosen."""

    def __init__(self, settings: AgentSettings, algebra: Algebra[V]) -> None:
        self._settings = settings
        self._algebra = algebra
        self.chooses = None in (settings.model_step_size, settings.adjoint_step_size)
        self.averages = Averages(len(Told._fields))
        self._largest = LargestCurvature(algebra)
        self._motion = MotionCurvature(algebra)
        self._along = AdjointCurvature(algebra)
        self._wandering = Wandering(algebra)
        self._caution = Caution(algebra)
        self._clipping = Clipping()
        self._runaway = Runaway()
        self._asked: LargestCurvature[V] | MotionCurvature[V] | AdjointCurvature[V] = self._largest
        self._heard = 1.0
        self._pushed = settings.block_fraction  # share of the model in a tick, smoothed
        self._sources: set[PeerId] = set()  # heard in this epoch
        self._accuracies: tuple[float, float] | None = None
        self.tuning = Tuning(self._steps(UNTUNED_STEP, UNTUNED_STEP, 0.0, 0), is_open=self.chooses)

    @property
    def is_ready(self) -> bool:
        """Whether the agent may step: it knows how far, or was told."""
        return not self.chooses or self._largest.is_ready

    @property
    def curvature_at_first(self) -> float:
        """The largest of the own loss where learning began; 0 before it is known well."""
        return self._largest.at_first

    @property
    def settling_ticks(self) -> float:
        """In how many ticks model and adjoint follow what moves them: a time constant of their slowest part.

        Of critical damping with momentum; without, what the step alone would give is not known, and one is
        taken that serves well conditioned tasks. Shorter steps with the same momentum take longer.
        """
        momentum = max(float(self.tuning.steps.momentum), MOMENTUM_LEAST)
        return 1.0 / (1.0 - math.sqrt(momentum)) / self.tuning.caution / self.tuning.adjoint_factor

    # ---- what outlives this process

    def snapshot(self) -> Snapshot[V]:
        """By how much noise has shortened steps: to find that takes hundreds of ticks, curvatures a few."""
        found = {"noise_factor": self._wandering.factor, "at_first": self._largest.at_first}
        return Snapshot({}, {**found, "caution": self._caution.values(), "runaway": self._runaway.values()})

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there; older releases kept nothing. Raises `SnapshotError`."""
        factor = snapshot.values.get("noise_factor", 1.0)
        if not isinstance(factor, int | float) or not FACTOR_MIN <= factor <= 1.0:
            raise SnapshotError(f"noise_factor is {factor!r} instead of a number from {FACTOR_MIN} to 1")
        self._wandering.factor = float(factor)
        at_first = snapshot.values.get("at_first", 0.0)
        if not isinstance(at_first, int | float) or not 0.0 <= at_first < math.inf:
            raise SnapshotError(f"at_first is {at_first!r} instead of 0 or more")
        self._largest.at_first = float(at_first)
        for name, part in (("caution", self._caution), ("runaway", self._runaway)):
            values = snapshot.values.get(name)
            if values is not None:
                part.restore(values)

    # ---- what comes in

    def enter_epoch(self) -> None:
        """Sums begin anew; what was measured stays."""
        self.averages.enter_epoch()
        self._caution.forget()
        self._sources.clear()
        self.pause()

    def pause(self) -> None:
        """The next point is reached without a step."""
        self._motion.forget()
        self._wandering.forget()

    def objection(self, push: Push[V]) -> str | None:
        """Why what a message says of averages cannot be true; None if it can."""
        return self.averages.objection(push.sender, push.tick, push.averages)

    def pushes(self, share: float) -> None:
        """This share of the model is pushed in this tick: less than is due, if bytes do not allow it."""
        self._pushed += PUSHED_SMOOTHING * (share - self._pushed)

    def hear(self, push: Push[V]) -> None:
        """Take it in."""
        self.averages.absorb(push.sender, push.tick, push.averages)

    def begin(self, sources: Sequence[PeerId], network: Network, blocks: int = 1) -> Steps:
        """A tick begins; from these something was heard, once for each of `blocks`. Returns how far to go."""
        self._sources.update(sources)
        if self._sources:
            share = len(sources) / len(self._sources) / blocks
            self._heard += HEARD_SMOOTHING * (share - self._heard)
        own = self._own(network)
        self.averages.put(own)
        if own.measures:
            self._choose(own, network)
        if self._settings.damping is None:
            self._damp()
        return self.tuning.steps

    def direction(
        self, model: V, adjoint: V, first: Callable[[], V], way: float, *, moving: bool
    ) -> V | None:
        """With what the product of the Hessian is wanted in this tick, if with anything.

        Model and adjoint are the estimates; `first` is that of `LargestCurvature`; `way` is how far the model
        has gone since the last tick. `moving`: the agent steps in this tick.
        """
        wanted = None
        if self.chooses:
            self._asked = self._largest
            wanted = self._largest.direction(first)
            if not moving:
                self.pause()
                return wanted
            self._wandering.add(model, way, float(self.tuning.steps.momentum))
            if wanted is None:
                self._asked = self._motion
                wanted = self._motion.direction(model)
        if wanted is None and moving and (self.chooses or self._settings.damping is None):
            self._asked = self._along
            wanted = self._along.direction(adjoint)
        return wanted

    def product(self, product: V, adjoint_gradient: V) -> None:
        """It, and the gradient of the adjoint on the same batch, without damping."""
        if self._asked is self._largest:
            self._largest.take(product, noisy=self._caution.is_noisy is True)
            return
        self._asked.take(product)
        if self._asked is self._along:
            swarm = self.swarm()
            outer = swarm.outer / swarm.damps if swarm.damps >= KNOWN_LEAST else 0.0
            self._runaway.see(self._along.strain(product, adjoint_gradient, outer))

    def felt(self, point: V, gradient: V, loss: float, *, moving: bool) -> None:
        """The own training loss and its gradient where a tick begins."""
        if not self.chooses:
            return
        if moving:
            self._caution.see(loss)
        else:
            known = self._largest.probes >= PROBES_SURE
            self._caution.rest(point, gradient, self._largest.value if known else math.inf)

    def divisor(self, gradient: V) -> float:
        """What the own gradient of the model is to be divided by, where the agent steps along it."""
        if not (self.chooses and self._caution.is_noisy):
            return 1.0
        return self._clipping.divisor(self._algebra.norm(gradient))

    def scored(self, metrics: Mapping[str, float]) -> None:
        """Test accuracies, as tasks name them."""
        shared, personal = metrics.get("shared", math.nan), metrics.get("personal", math.nan)
        if math.isfinite(shared) and math.isfinite(personal):
            self._accuracies = (shared, personal)

    # ---- what goes out

    def tell(self, copies: int) -> tuple[float, ...]:
        """The sums for the next message, which so many will get."""
        return self.averages.push(copies)

    def swarm(self) -> Told:
        """What is known of the averages over the swarm."""
        return Told(*self.averages.mean())

    # ---- decisions

    def _choose(self, own: Told, network: Network) -> None:
        swarm = self.swarm()
        if swarm.measures < KNOWN_LEAST:
            swarm = own
        largest = swarm.curvature / swarm.measures
        if own.curvature > 0.0:
            # What is steep for an agent is steep, whatever it is for the others: between two messages it goes
            # its own way. That costs nothing where networks are good (24 worlds of `bench tuning`: 0.99 times
            # the ticks), and keeps fast agents from running away where they are bad.
            largest = min(max(largest, own.curvature), own.curvature * UNLIKE_MAX)
        if not largest > 0.0:
            return
        along = swarm.motion_curvature / swarm.measures
        heard = min(max(swarm.heard / swarm.measures, 0.0), 1.0)
        heard = max(1, round(heard * HEARD_STEPS)) / HEARD_STEPS
        measured = Measured(
            curvature=largest,
            motion_curvature=min(max(along, largest / CONDITION_MAX), largest),
            gap=averaging_gap(network.agents, self._settings.fanout, heard),
            heard=heard,
            pushed=max(self._pushed, PUSHED_MIN),
            delay_ticks=max(0.0, swarm.delay_ticks / swarm.measures),
        )
        step, momentum = step_and_momentum(measured, self._settings.local_steps)
        factor, caution = self._wandering.factor, self._common_caution(swarm)
        slower = self._common_slowness(swarm)
        step *= factor * caution
        steps = self._steps(step, step * slower, momentum, self.tuning.steps.damping)
        self.tuning = Tuning(steps, measured, factor, caution, slower)

    def _common_caution(self, swarm: Told) -> float:
        """One for all: where some step far and others do not, momentum drives them apart."""
        if swarm.is_noisy < KNOWN_LEAST:
            return self._caution.factor
        return min(max(swarm.caution / swarm.is_noisy, CAUTION_MIN), 1.0)

    def _common_slowness(self, swarm: Told) -> float:
        """What all multiply steps of the adjoint by; the most strained agents count most.

        No word of others makes them very much shorter than what is seen here asks for.
        """
        if self._settings.adjoint_step_size is not None:
            return 1.0
        own = self._runaway.factor
        if swarm.damps < KNOWN_LEAST or not swarm.slowness > 0.0:
            return own
        return min(max(swarm.damps / swarm.slowness, own / UNLIKE_MAX), 1.0)

    def _damp(self) -> None:
        """As much as keeps the adjoint from running away, and no more for long."""
        swarm, needed = self.swarm(), 0.0
        if (
            swarm.damps >= KNOWN_LEAST and swarm.bends_down > 0.0
        ):  # averages waver; that of nothing is nothing
            along = swarm.adjoint_curvature / swarm.damps
            needed = min(max(0.0, -along), UNLIKE_MAX * abs(self._along.value)) * DAMPING_MARGIN
        needed = max(needed, self._largest.lacks)  # nothing, where the own curvature is not measured
        damping = max(needed, float(self.tuning.steps.damping) * (1.0 - DAMPING_FADES))
        if damping > 0.0:
            self.tuning = replace(self.tuning, steps=replace(self.tuning.steps, damping=damping))

    def _own(self, network: Network) -> Told:
        scores = (1.0, *self._accuracies) if self._accuracies else (0.0, 0.0, 0.0)
        bent = self._along.value
        rest = (1.0 if self._along.known else 0.0, bent, max(0.0, -bent), *scores)
        strained = (1.0 / self._runaway.factor, self._along.outer) if self._along.known else (0.0, 0.0)
        if not (self.chooses and self._largest.is_ready):
            return Told(0.0, 0.0, 0.0, 0.0, 0.0, *rest, 0.0, 0.0, *strained)
        largest = self._largest.bound(noisy=self._caution.is_noisy is True)
        along = self._motion.within(largest, largest / CONDITION_MAX)
        heard = min(1.0, self._heard / max(self._pushed, PUSHED_MIN))  # of what is pushed, not of all
        told = (1.0, largest, along, heard, network.delay_ticks)
        caution = (1.0, self._caution.factor) if self._caution.is_noisy else (0.0, 0.0)
        return Told(*told, *rest, *caution, *strained)

    def _steps(self, step: float, adjoint: float, momentum: float, damping: Scalar) -> Steps:
        settings = self._settings
        return Steps(
            model=step if settings.model_step_size is None else settings.model_step_size,
            adjoint=adjoint if settings.adjoint_step_size is None else settings.adjoint_step_size,
            momentum=(momentum if self.chooses else 0) if settings.momentum is None else settings.momentum,
            damping=damping if settings.damping is None else settings.damping,
        )
