"""Steps that tune themselves: curvatures as measured, averaging as tried out, and what is made of both."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
import wire
from peer.lockstep import make_graph
from peer.quadratic import QuadraticProblem, closed_form
from peer.rivals.links import SilentLinks
from peer.settings import AgentSettings
from peer.snapshot import Snapshot, SnapshotError
from peer.tensor_algebra import TensorAlgebra
from peer.tuning.curvature import (
    ADJOINT_TICKS,
    FLATTEST,
    MOTION_TICKS,
    PROBE_TICKS,
    PROBES_AT_FIRST,
    PROBES_SURE,
    AdjointCurvature,
    LargestCurvature,
    MotionCurvature,
)
from peer.tuning.mixing import GAP_MIN, averaging_gap
from peer.tuning.noise import FACTOR_MIN, WINDOW_TICKS, Wandering
from peer.tuning.rule import LEFT, WARM_UP_MAX, Measured, step_and_momentum, warm_up
from peer.tuning.runaway import DOUBLED, SHORTER_LEAST, STRAIN_BORNE, WINDOW, Runaway
from peer.tuning.runaway import FACTOR_MIN as SLOWEST
from peer.tuning.tuner import DAMPING_MARGIN, UNLIKE_MAX, UNTUNED_STEP, Network, Steps, Told, Tuner
from peer.virtual_swarm import Swarm, reproducible_torch
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    from torch import Tensor

ALGEBRA = TensorAlgebra("float64")
EIGENVALUES = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
ONES = torch.ones(3, dtype=torch.float64)


def probed(probes: int, power: LargestCurvature[Tensor] | None = None) -> LargestCurvature[Tensor]:
    power = power or LargestCurvature(ALGEBRA)
    while probes:
        direction = power.direction(lambda: ONES)
        if direction is not None:
            power.take(EIGENVALUES * direction)
            probes -= 1
    return power


# ---- curvature


def test_power_iteration_finds_the_largest_curvature_from_below() -> None:
    found = [probed(probes).value for probes in (1, 2, 4, 12)]
    assert found == sorted(found)
    assert 2.0 < found[0] < 4.0
    assert found[-1] == pytest.approx(4.0, rel=1e-6)


def test_probes_come_at_once_at_first_and_rarely_later() -> None:
    power = LargestCurvature[Any](ALGEBRA)
    asked = []
    for tick in range(200):
        direction = power.direction(lambda: ONES)
        if direction is not None:
            asked.append(tick)
            power.take(EIGENVALUES * direction)
            assert power.is_ready == (len(asked) >= PROBES_AT_FIRST)
    assert asked[:PROBES_AT_FIRST] == list(range(PROBES_AT_FIRST))
    assert set(torch.tensor(asked[-5:]).diff().tolist()) == {PROBE_TICKS}


def test_a_curvature_that_falls_is_forgotten_slowly_and_one_that_rises_counts_at_once() -> None:
    power = probed(12)
    for scale, expected in ((0.5, 3.6), (3.0, 12.0)):
        direction = None
        while direction is None:
            direction = power.direction(lambda: ONES)
        power.take(EIGENVALUES * direction * scale)
        assert power.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("odd", [0.0, math.nan, math.inf])
def test_what_is_no_direction_is_passed_over(odd: float) -> None:
    power = LargestCurvature[Any](ALGEBRA)
    assert power.direction(lambda: ONES * odd) is None
    assert power.probes == 0
    assert power.direction(lambda: ONES) is not None
    power.take(ONES * odd)
    assert (power.probes, power.value) == (1, 0.0)
    assert power.direction(lambda: ONES) is not None


def test_the_curvature_along_the_motion() -> None:
    motion = MotionCurvature[Any](ALGEBRA)
    assert motion.within(4.0, 1.0) == 2.0, "nothing has moved"
    point, asked = ONES.clone(), []
    for tick in range(60):
        direction = motion.direction(point)
        if direction is not None:
            asked.append(tick)
            motion.take(EIGENVALUES * direction)
        point = point - 0.2 * EIGENVALUES * point
    assert asked == [4, 8, 12, 20, 28, 44]
    assert 0.25 < motion.within(4.0, 0.01) < 0.4, "the steep directions have died away"
    assert motion.within(0.2, 0.1) == 0.2
    assert motion.within(9.0, 8.0) == 8.0
    motion.forget()
    for _ in range(MOTION_TICKS[-1]):
        assert motion.direction(point) is None, "the first point after a pause is no step from the last"
    standing = [motion.direction(point) for _ in range(MOTION_TICKS[-1])]
    assert standing == [None] * len(standing), "an agent that has not moved has come no way"


# ---- mixing


def test_averaging_is_faster_with_more_links_and_slower_with_loss_and_in_rings() -> None:
    assert averaging_gap(1, 3, 1.0) == 1.0
    assert averaging_gap(16, 4, 1.0) > averaging_gap(16, 2, 1.0) > averaging_gap(16, 1, 1.0)
    assert averaging_gap(8, 2, 1.0) > averaging_gap(8, 2, 0.5) > averaging_gap(8, 2, 0.1)
    assert averaging_gap(1000, 3, 1.0) == averaging_gap(500, 3, 1.0)
    assert GAP_MIN <= averaging_gap(48, 1, 0.05) < 0.05
    assert averaging_gap(2, 1, 1.0) == pytest.approx(1.0), "both have the mean at once"


def test_a_ring_without_loss_averages_as_its_eigenvalues_say() -> None:
    """Reference: x_i = (x_i + x_{i-1}) / 2 on a ring of n has the second largest |eigenvalue| cos(pi / n)."""
    assert averaging_gap(12, 1, 1.0) == pytest.approx(1.0 - math.cos(math.pi / 12), rel=0.2)


# ---- the rule


def measured(**changes: float) -> Measured:
    plain = {"curvature": 2.0, "motion_curvature": 0.1, "gap": 0.5, "heard": 1.0, "delay_ticks": 0.0}
    return Measured(**{**plain, **changes})


def test_the_rule_goes_by_scale() -> None:
    step, momentum = step_and_momentum(measured(), 1)
    scaled, same = step_and_momentum(measured(curvature=20.0, motion_curvature=1.0), 1)
    assert scaled == pytest.approx(step / 10.0)
    assert same == pytest.approx(momentum)
    assert 0.0 < step <= 1.0


@pytest.mark.parametrize(
    ("agents", "fanout", "drop", "delay"),
    [(8, 3, 0.2, 0.4), (8, 2, 0.5, 3.0), (24, 3, 0.3, 0.0), (24, 2, 0.3, 2.0), (4, 3, 0.3, 5.0)],
)
def test_a_warm_up_is_as_long_as_trackers_take_to_agree(
    agents: int, fanout: int, drop: float, delay: float
) -> None:
    """Reference: running sums pushed over such links, by another implementation."""
    links = SilentLinks(
        make_graph(agents, fanout=fanout), drop=drop, mean_delay_ticks=delay, speeds=[1.0] * agents
    )
    held = torch.randn(agents, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    held -= held.mean(0)
    first, ticks = float(held.abs().max()), 0
    while float(held.abs().max()) > LEFT * first:
        held = links.exchange(held, links.acting())
        ticks += 1
    chosen = warm_up(averaging_gap(agents, fanout, 1.0 - drop), delay)
    assert 0.5 * chosen < ticks < 1.5 * chosen


def test_warm_ups_are_bounded() -> None:
    assert warm_up(1.0, 0.0) == pytest.approx(-math.log(LEFT))
    assert warm_up(1e-3, 50.0) == WARM_UP_MAX


@pytest.mark.slow
def test_rotating_the_epoch_of_a_settled_swarm_does_no_harm_where_averaging_is_slow() -> None:
    """The longest delays that 50 ticks, enough elsewhere, are not enough for (measured: a jump to 3e-3)."""
    generator = torch.Generator().manual_seed(0)
    problems = [QuadraticProblem.random(generator) for _ in range(6)]
    truth = closed_form(problems).model
    largest = {}
    with reproducible_torch():
        for given in (20.0, None):
            swarm = Swarm(
                problems,
                AgentSettings(
                    tick_s=1.0, fanout=2, wire_dtype="float64", warm_up_ticks=given, evaluate_every=0
                ),
                faults=FaultPlan(drop=0.4, delay_s=Exponential(2.0)),
                seed=0,
            )
            swarm.simulation.run_until(320.0)
            agents = [member.agent for member in swarm.members]
            first = agents[0]
            assert first is not None
            first._enter(first.epoch + 1, "a test", 320.0)
            errors = []
            for now in range(321, 520, 3):
                swarm.simulation.run_until(float(now))
                errors += [float((one.solver.model.estimate - truth).norm()) for one in agents if one]
            largest[given] = max(errors) / float(truth.norm())
            assert {one.epoch for one in agents if one} == {first.epoch}
    assert largest[None] < 1e-6 < 1e-4 < largest[20.0]


def test_the_rule_is_careful_where_the_network_is_bad() -> None:
    step, momentum = step_and_momentum(measured(), 1)
    assert step_and_momentum(measured(gap=0.1), 1)[0] < step
    assert step_and_momentum(measured(motion_curvature=1.0), 1)[1] < momentum
    assert 0.0 <= step_and_momentum(measured(motion_curvature=2.0, gap=1.0), 1)[1] < 1.0
    assert step_and_momentum(measured(motion_curvature=1e-9), 1)[1] < 1.0


# ---- the agent's part


def tuner(**settings: Any) -> Tuner[Tensor]:
    return Tuner(AgentSettings(**settings), ALGEBRA)


def told_of_curvature(one: Tuner[Tensor], scale: float = 1.0) -> None:
    while not one.is_ready:
        direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=False)
        assert direction is not None
        one.product(EIGENVALUES * direction * scale, ONES)


def test_what_is_given_is_taken_and_nothing_is_measured() -> None:
    given = tuner(model_step_size=0.1, adjoint_step_size=0.2, momentum=0.3, damping=0.0)
    assert given.is_ready
    assert given.direction(ONES, ONES, lambda: ONES, 0.0, moving=True) is None
    assert given.begin(["a"], Network()) == Steps(0.1, 0.2, 0.3)
    assert given.tuning.measured is None
    assert given.swarm() == Told()


def test_what_is_open_is_chosen() -> None:
    half = tuner(adjoint_step_size=0.2)
    told_of_curvature(half)
    steps = half.begin([], Network())
    assert steps.adjoint == 0.2
    assert 0.0 < steps.model != 0.2
    assert half.tuning.measured is not None
    assert half.tuning.measured.curvature == pytest.approx(4.0, rel=0.1)


def test_an_agent_does_not_step_before_it_knows_how_far() -> None:
    one = tuner()
    assert not one.is_ready
    assert one.begin([], Network()) == Steps(UNTUNED_STEP, UNTUNED_STEP, 0.0)
    assert one.swarm() == Told()
    told_of_curvature(one)
    assert one.is_ready
    one.begin([], Network())
    assert one.swarm().measures == 1.0


def push(sender: str, tick: int, averages: tuple[float, ...]) -> wire.Push[Tensor]:
    return wire.Push("s", "f", sender, 0, 1, 0, tick, tick, 1.0, "", (), averages=averages)


def test_the_swarm_s_average_counts_and_nothing_absurd() -> None:
    """Nor what would let the agent step further than its own losses allow."""
    one = tuner()
    told_of_curvature(one)
    one.begin([], Network())
    for tick, (curvature, expected) in enumerate(
        ((12.0, 8.0), (1e9, 120.0), (0.1, 4.0), (-1e9, 4.0)), start=1
    ):
        told = push("a", tick, (1.0, *Told(1.0, curvature, 0.5, 1.0)))
        one.enter_epoch()
        assert one.objection(told) is None
        one.hear(told)
        one.begin(["a"], Network(2))
        found = one.tuning.measured
        assert found is not None
        assert found.curvature == pytest.approx(expected, rel=0.1)
        assert 0.0 < found.motion_curvature <= found.curvature


def test_agents_that_measure_nothing_do_not_count() -> None:
    one = tuner()
    told_of_curvature(one)
    one.hear(push("a", 1, (1.0, *Told())))
    one.begin(["a"], Network(2))
    assert one.tuning.measured is not None
    assert one.tuning.measured.curvature == pytest.approx(4.0, rel=0.1)


def test_where_nothing_bends_there_is_a_step_all_the_same() -> None:
    one = tuner()
    told_of_curvature(one, scale=0.0)
    assert one.begin([], Network()).model == UNTUNED_STEP
    assert one.tuning.measured is None


def test_accuracies_are_averaged_over_those_who_have_them() -> None:
    one = tuner()
    one.scored({"shared": 0.5, "personal": math.nan})
    one.begin([], Network())
    assert one.swarm().scored == 0.0
    one.scored({"shared": 0.5, "personal": 0.75})
    one.begin([], Network())
    swarm = one.swarm()
    assert (swarm.scored, swarm.shared, swarm.personal) == (1.0, 0.5, 0.75)


def test_the_share_heard_is_of_those_who_were_ever_heard_in_this_epoch() -> None:
    one = tuner()
    told_of_curvature(one)
    for _ in range(300):
        one.begin(["a", "b"], Network(3))
        one.begin(["a"], Network(3))
    assert one.swarm().heard == pytest.approx(0.75, abs=0.02)
    one.enter_epoch()
    for _ in range(300):
        one.begin(["a"], Network(3))
    assert one.swarm().heard == pytest.approx(1.0, abs=0.02)


# ---- damping


def test_a_convex_task_is_never_damped() -> None:
    """Reference: DESIGN (2): damping biases the answer."""
    one = tuner(model_step_size=0.1, adjoint_step_size=0.1, momentum=0.0)
    for _ in range(3 * ADJOINT_TICKS):
        steps = one.begin([], Network())
        direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=True)
        if direction is not None:
            one.product(EIGENVALUES * direction, ONES)
        assert steps.damping == 0
        assert isinstance(steps.damping, int), "exactly nothing, for exact numbers"
    assert one.swarm().damps == 1.0
    assert one.swarm().adjoint_curvature == pytest.approx(1.75)


def test_an_adjoint_that_runs_away_is_damped_and_no_longer_than_needed() -> None:
    one = tuner(momentum=0.0)
    told_of_curvature(one)

    def ticks(count: int, curvature: float) -> float:
        for _ in range(count):
            one.begin([], Network())
            direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=True)
            if direction is not None:
                one.product(curvature * direction, ONES)
        return float(one.tuning.steps.damping)

    assert ticks(5 * ADJOINT_TICKS, -0.2) == pytest.approx(DAMPING_MARGIN * 0.2, rel=0.01)
    assert ", damping 0.3, for curvature" in one.tuning.describe()
    assert 0.0 < ticks(2000, 0.5) < 0.1


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_product_that_is_not_finite_says_nothing_of_damping(odd: float) -> None:
    along = AdjointCurvature[Any](ALGEBRA)
    asked = [along.direction(ONES * (0.0 if tick else odd)) for tick in range(2 * ADJOINT_TICKS)]
    assert asked == [None] * len(asked)
    while along.direction(ONES) is None:
        pass
    along.take(ONES * odd)
    assert not along.known


# ---- a loss that has been learned by heart


def flattened(curvatures: list[float], power: LargestCurvature[Any]) -> None:
    for curvature in curvatures:
        while (direction := power.direction(lambda: ONES)) is None:
            pass
        power.take(curvature * direction)


def test_nothing_counts_as_flatter_than_a_share_of_what_it_was_at_first() -> None:
    power = LargestCurvature[Any](ALGEBRA)
    flattened([4.0] * (PROBES_SURE - 1), power)
    assert power.lacks == power.at_first == 0.0, "it is not known yet"
    flattened([1e-9] * 200, power)
    assert power.at_first == pytest.approx(4.0, rel=0.1)
    assert power.value < 1e-8
    assert power.value + power.lacks == pytest.approx(FLATTEST * power.at_first)


def test_what_is_steep_for_once_or_later_does_not_count_for_it() -> None:
    power = LargestCurvature[Any](ALGEBRA)
    flattened([2.0, 1e12, *[2.0] * 300], power)
    assert power.at_first < 1e12
    assert power.lacks < 1e9 * FLATTEST
    again = LargestCurvature[Any](ALGEBRA)
    flattened([*[2.0] * 20, *[1e12] * 20, *[2.0] * 300], again)
    assert again.at_first == 2.0
    assert again.lacks == 0.0


def test_where_the_loss_has_become_flat_steps_are_bounded_and_the_adjoint_is_damped() -> None:
    one = tuner(momentum=0.0)

    def tick(curvature: float) -> Steps:
        direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=one.is_ready)
        if direction is not None:
            one.product(curvature * direction, ONES)
        return one.begin([], Network())

    for _ in range(40):
        first = tick(4.0)
    assert first.damping == 0.0
    for _ in range(3000):
        steps = tick(1e-12)
    found = one.tuning.measured
    assert found is not None
    assert found.curvature == pytest.approx(FLATTEST * 4.0, rel=0.1)
    assert steps.damping == pytest.approx(FLATTEST * 4.0, rel=0.1)
    assert steps.model == pytest.approx(first.model / FLATTEST, rel=0.5)


def test_an_agent_that_comes_back_does_not_take_what_it_has_not_measured_yet_for_flat() -> None:
    one = tuner(momentum=0.0)
    one.restore(Snapshot({}, {"at_first": 50.0}))
    for _ in range(30):
        direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=one.is_ready)
        if direction is not None:
            one.product(EIGENVALUES * direction, ONES)
        assert one.begin([], Network()).damping == 0.0
    given = tuner(model_step_size=0.1, adjoint_step_size=0.1)
    given.restore(one.snapshot())
    for _ in range(3 * ADJOINT_TICKS):
        direction = given.direction(ONES, ONES, lambda: ONES, 0.0, moving=True)
        if direction is not None:
            given.product(EIGENVALUES * direction, ONES)
        assert given.begin([], Network()).damping == 0.0


# ---- an adjoint that noise drives away


def test_strain_that_keeps_doubling_shortens_steps_until_it_does_not() -> None:
    runaway = Runaway()
    for strain in (0.0, 1.0, 5.0, DOUBLED * STRAIN_BORNE):
        for _ in range(WINDOW):
            runaway.see(strain)
        assert runaway.factor == 1.0, "that much is borne"
    factors = [1.0]
    for strain in (30.0, 61.0, 123.0, 247.0):
        for _ in range(WINDOW):
            runaway.see(strain)
        factors.append(runaway.factor)
    assert [later / before for before, later in pairwise(factors)] == pytest.approx(
        [1 / 3, 30 / 61, 61 / 123, 123 / 247]
    )
    for _ in range(WINDOW * 200):
        runaway.see(200.0)
    assert runaway.factor == 1.0, "as much as before is no more, whatever it is"


def test_a_jump_of_strain_is_answered_at_once_and_within_bounds() -> None:
    runaway = Runaway()
    for _ in range(WINDOW):
        runaway.see(1e9)
    assert runaway.factor == pytest.approx(SHORTER_LEAST)
    for odd in (math.nan, math.inf):
        runaway.see(odd)
    assert runaway.factor == pytest.approx(SHORTER_LEAST), "of a batch like that a step is undone"
    for height in (1e12, 1e15, 1e18):
        for _ in range(WINDOW):
            runaway.see(height)
    assert runaway.factor == SLOWEST


def test_strain_that_has_gone_is_forgotten_slowly() -> None:
    runaway = Runaway()
    for strain in (500.0, *(1.0 for _ in range(100)), 2.1 * STRAIN_BORNE):
        for _ in range(WINDOW):
            runaway.see(strain)
    assert runaway.factor == pytest.approx(1.0 / 2.1)
    again = Runaway()
    again.restore(runaway.values())
    assert again.values() == runaway.values()
    assert again.factor == runaway.factor


@pytest.mark.parametrize(
    "values", [None, [], {"factor": 2.0, "answered": 10.0}, {"factor": 0.5, "answered": 9.0}, {"factor": 0.5}]
)
def test_a_checkpoint_with_odd_strains_is_refused(values: Any) -> None:
    with pytest.raises(SnapshotError, match=r"^runaway: (factor|answered) is"):
        Runaway().restore(values)


def test_strain_is_the_gradient_of_the_adjoint_in_lengths_of_that_of_the_outer_loss() -> None:
    """H p - F = (1.6, 2, 0), where H p = (2, 2, 0) and so F = (0.4, 0, 0)."""
    along = AdjointCurvature[Any](ALGEBRA)
    while along.direction(2.0 * ONES) is None:
        pass
    length = float((2.0 * ONES).norm())
    product = torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64) / length
    gradient = torch.tensor([1.6, 2.0, 0.0], dtype=torch.float32)
    assert along.strain(product, gradient, 0.0) == pytest.approx(float(gradient.norm()) / 0.4, rel=1e-6)
    assert along.outer == pytest.approx(0.4, rel=1e-6)
    assert along.strain(product, gradient, 4.0) == pytest.approx(float(gradient.norm()) / 4.0, rel=1e-6)
    assert along.strain(product, product * length, 0.0) == 0.0, "nothing is to be solved"
    rounded = (product * length * (1.0 + 1e-7)).to(torch.float32)
    assert along.strain(product, rounded, 0.0) == along.outer == 0.0, "nor here, but for rounding"
    before = along.outer
    for odd in (math.inf, math.nan):
        assert math.isnan(along.strain(product, gradient * odd, 1.0))
        assert math.isnan(along.strain(product * odd, gradient, 1.0))
    assert along.outer == before, "what is told of it is a number"


def test_all_take_the_same_steps_of_the_adjoint_and_the_most_strained_counts_most() -> None:
    tuners = [tuner(momentum=0.0) for _ in range(3)]
    for one, slowed in zip(tuners, (1.0, 1.0, 0.1), strict=True):
        told_of_curvature(one)
        for _ in range(ADJOINT_TICKS * 2):
            direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=True)
            if direction is not None:
                one.product(direction, ONES)
        one._runaway.factor = slowed  # and stays, as nothing more is measured
    for tick in range(1, 80):
        for one in tuners:
            one.begin([], Network(3))
        for number, one in enumerate(tuners):
            told = one.tell(2)
            for other in tuners:
                if other is not one:
                    other.hear(push(str(number), tick, told))
    harmonic = 3.0 / (1.0 + 1.0 + 10.0)
    for one in tuners:
        steps = one.tuning.steps
        assert one.tuning.adjoint_factor == pytest.approx(harmonic, rel=1e-3)
        assert steps.adjoint == pytest.approx(harmonic * steps.model, rel=1e-3)
        assert ", adjoint times 0.25" in one.tuning.describe()


def test_no_word_of_others_makes_steps_of_the_adjoint_very_much_shorter_than_the_own() -> None:
    one = tuner(momentum=0.0)
    told_of_curvature(one)
    for _ in range(ADJOINT_TICKS + 2):
        direction = one.direction(ONES, ONES, lambda: ONES, 0.0, moving=True)
        if direction is not None:
            one.product(direction, ONES)
    one.begin([], Network(2))
    liar = Told(damps=1.0, slowness=1e90)
    one.hear(push("liar", 1, (1.0, *liar)))
    one.begin([], Network(2))
    assert one.tuning.adjoint_factor == pytest.approx(1.0 / UNLIKE_MAX)
    given = tuner(adjoint_step_size=0.2)
    told_of_curvature(given)
    given.hear(push("liar", 1, (1.0, *liar)))
    given.begin([], Network(2))
    assert given.tuning.adjoint_factor == 1.0, "as given"


def test_what_strain_and_flatness_have_taught_is_kept_for_a_later_life() -> None:
    first, second = tuner(), tuner()
    flattened([4.0] * PROBES_SURE, first._largest)
    first._runaway.factor = 0.3
    second.restore(first.snapshot())
    assert second._runaway.factor == 0.3
    assert second.curvature_at_first == first.curvature_at_first > 0.0
    for odd in (-1.0, math.inf, "much"):
        with pytest.raises(SnapshotError, match="at_first is"):
            second.restore(Snapshot({}, {"at_first": odd}))


@pytest.mark.slow
def test_agents_that_learn_random_labels_by_heart_neither_run_away_nor_disbelieve_each_other() -> None:
    """Steps grew a million times, and the adjoint beyond all numbers, before both were held."""
    problems = [by_heart(seed) for seed in range(2)]
    result = peer.simulate(problems, ticks=1200, evaluate_every=0, hyper_step_size=0.01)
    for agent in result.agents:
        assert max(float(tensor.abs().max()) for tensor in agent.adjoint.values()) < 1e7


def by_heart(seed: int) -> peer.ModuleProblem:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
        torch.manual_seed(seed)
        samples = [(torch.randn(32, 16), torch.randint(4, (32,))) for _ in range(2)]
    return peer.ModuleProblem(module, *samples, batch_size=8, seed=seed)


@pytest.mark.slow
def test_a_swarm_whose_losses_bend_down_somewhere_keeps_its_adjoint_bounded() -> None:
    """Two agents, one of which bends down more than the other bends up, in one direction of two."""

    def problem(along: float) -> peer.QuadraticProblem:
        one = torch.tensor([1.0, along], dtype=torch.float64)
        return peer.QuadraticProblem(
            inner_hessian=torch.diag(one),
            inner_linear=torch.tensor([1.0, 0.0], dtype=torch.float64),
            coupling=torch.zeros(2, 1, dtype=torch.float64),
            outer_hessian=torch.eye(2, dtype=torch.float64),
            outer_linear=torch.tensor([0.3, 1e-3], dtype=torch.float64),
        )

    problems = [problem(0.2), problem(-0.3)]
    steps = {"model_step_size": 0.2, "adjoint_step_size": 0.2, "momentum": 0.5}
    free, held = (
        [float(agent.adjoint["x"][1].abs()) for agent in peer.simulate(problems, ticks=1500, **more).agents]
        for more in ({**steps, "damping": 0.0}, steps)
    )
    assert min(free) > 1e3
    assert max(held) < 20.0


# ---- swarms


@pytest.mark.slow
def test_a_swarm_that_tunes_itself_finds_the_answer_whatever_the_scale() -> None:
    """One task in two units: the curvature is 400 times as large, ticks to the answer are the same."""
    generator = torch.Generator().manual_seed(3)
    problems = [peer.QuadraticProblem.random(generator, dimension=6) for _ in range(4)]
    scaled = [
        peer.QuadraticProblem(
            inner_hessian=400 * p.inner_hessian,
            inner_linear=20 * p.inner_linear,
            coupling=20 * p.coupling,
            outer_hessian=p.outer_hessian,
            outer_linear=p.outer_linear / 20,
            hyperparameters=p.hyperparameters["h"],
        )
        for p in problems
    ]
    links = wire.FaultPlan(drop=0.3)
    for these in (problems, scaled):
        truth = peer.closed_form(these)
        result = peer.simulate(these, faults=links, ticks=400, wire_dtype="float64", seed=1)
        for agent in result.agents:
            assert float((agent.model["x"] - truth.model).norm() / truth.model.norm()) < 1e-6
            assert float((agent.adjoint["x"] - truth.adjoint).norm() / truth.adjoint.norm()) < 1e-6


# ---- what people are told


def test_steps_are_described_with_what_they_were_chosen_by() -> None:
    given = tuner(model_step_size=0.1, adjoint_step_size=0.2, momentum=0.3)
    assert given.tuning.describe() == "steps as given: model 0.1, adjoint 0.2, momentum 0.3"
    one = tuner()
    assert one.tuning.describe() == "steps: nothing measured yet"
    told_of_curvature(one)
    one.begin([], Network())
    assert "for curvature 3.88, condition 100, averaging" in one.tuning.describe()
    assert one.tuning.describe().endswith("averaging 1 a tick, heard 100%, delay 0 ticks")


def test_the_swarm_s_accuracies_are_told_once_some_are_known() -> None:
    assert Told().accuracies == {}
    assert Told(scored=0.5, shared=0.4, personal=0.45).accuracies == {"shared": 0.8, "personal": 0.9}


# ---- noise


def walked(noise: float, ticks: int, *, step: float = 0.2, momentum: float = 0.5) -> float:
    """The factor after gradient descent on a parabola, with noise in every gradient."""
    wandering, generator = Wandering[Any](ALGEBRA), torch.Generator().manual_seed(0)
    point, velocity = 10 * ONES, 0 * ONES
    for _ in range(ticks):
        wandering.add(point, float(velocity.norm()), momentum)
        gradient = point - ONES + noise * torch.randn(3, generator=generator, dtype=torch.float64)
        velocity = momentum * velocity - step * gradient
        point = point + velocity
    return wandering.factor


def test_an_agent_that_wanders_steps_less_and_one_that_settles_does_not() -> None:
    assert walked(0.0, 1000) == 1.0
    assert walked(3.0, 1000) < 0.5
    assert walked(3.0, 2500) == FACTOR_MIN
    assert walked(1e-9, 1000) == 1.0, "that is rounding"


def test_an_agent_that_gets_somewhere_again_steps_more_again() -> None:
    wandering, point = Wandering[Any](ALGEBRA), ONES
    wandering.factor = 0.3
    for tick in range(1 + 2 * WINDOW_TICKS):
        wandering.add(point + 0.1 * tick, 0.1 * len(ONES) ** 0.5, 0.5)
    assert wandering.factor == 1.0


def test_a_pause_begins_a_new_walk() -> None:
    wandering = Wandering[Any](ALGEBRA)
    for tick in range(5 * WINDOW_TICKS):
        wandering.add(ONES * (1 + tick % 2), len(ONES) ** 0.5, 0.0)
        if tick % 50 == 0:
            wandering.forget()
    assert wandering.factor == 1.0
    for tick in range(5 * WINDOW_TICKS):
        wandering.add(ONES * (1 + tick % 2), len(ONES) ** 0.5, 0.0)
    assert wandering.factor < 1.0


@pytest.mark.parametrize("blocks", [2, 4, 10])
def test_with_blocks_as_many_ticks_come_to_one_without(blocks: int) -> None:
    """The velocity has faded as much once all of the model was pushed, and the way of a push is as long."""
    whole_step, whole_momentum = step_and_momentum(measured(), 1)
    step, momentum = step_and_momentum(measured(pushed=1.0 / blocks), 1)
    assert momentum**blocks == pytest.approx(whole_momentum)
    assert blocks * step / (1.0 - momentum) == pytest.approx(whole_step / (1.0 - whole_momentum))
    assert warm_up(0.4, 1.0, 1.0 / blocks) > warm_up(0.4, 1.0)
