"""What every inner solver, a `peer.tracking.Stream`, has to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from peer.conformance.common import has_what_is_asked_for, name_of, takes_its_text
from peer.extensions import register
from peer.quadratic import QuadraticProblem, closed_form
from peer.scenario import Kill, Restart
from peer.tensor_algebra import TensorAlgebra
from peer.virtual_swarm import simulate
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peer.scenario import Change
    from peer.tracking import Stream
    from peer.virtual_swarm import SimulationResult

    Make = Callable[..., Stream[torch.Tensor]]

AGENTS: Final = 4
TICKS: Final = 900
TICK_S: Final = 0.05
EXACT: Final = 1e-3  # relative
SIZE: Final = 6
SPANS: Final = (slice(0, 4), slice(4, 6))


def _problems() -> list[QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [QuadraticProblem.random(generator) for _ in range(AGENTS)]


def _run(
    make: Make, faults: FaultPlan, scenario: Sequence[Change] = (), ticks: float = TICKS
) -> SimulationResult:
    name = f"{name_of(make)}()"  # which none of ours has
    with register("solver", name, make):
        return simulate(
            _problems(),
            faults=faults,
            ticks=ticks,
            scenario=scenario,
            solver=name,
            model_step_size=0.1,
            adjoint_step_size=0.1,
            momentum=0.5,
            wire_dtype="float64",
            tick_s=TICK_S,
            evaluate_every=0,
        )


def _check_answer(make: Make, found: SimulationResult, where: str) -> None:
    """Finite; and the exact one, unless it says `biased`."""
    truth = closed_form(_problems())
    for agent in found.agents:
        for name, wanted in (("model", truth.model), ("adjoint", truth.adjoint)):
            got = getattr(agent, name)["x"]
            assert torch.isfinite(got).all(), f"{where}: the {name} of {agent.id} is not finite"
            if not getattr(_stream(make), "biased", False):
                error = float((got - wanted).norm() / wanted.norm())
                assert error < EXACT, (
                    f"{where}: the {name} of {agent.id} is off by {error:.2g} after {TICKS} ticks; if that "
                    "has to be, give it an attribute biased = True"
                )


def _stream(make: Make) -> Stream[torch.Tensor]:
    return make(torch.arange(SIZE, dtype=torch.float64), TensorAlgebra("float64"), SPANS)


def it_has_what_is_asked_for(make: Make) -> None:
    """All methods of the protocol."""
    has_what_is_asked_for("solver", make, _stream(make))


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make, torch.arange(SIZE, dtype=torch.float64), TensorAlgebra("float64"), SPANS)


def it_says_two_arrays_of_each_block(make: Make) -> None:
    """As long as `array_lengths` says, also just after an epoch has begun; the estimate is among them."""
    stream = _stream(make)
    assert torch.equal(stream.estimate, torch.arange(SIZE, dtype=torch.float64)), (
        "it does not begin at initial"
    )
    gradient = torch.ones(SIZE, dtype=torch.float64)
    end = stream.estimate.clone()
    stream.enter_epoch()
    for _ in range(3):
        stream.mix()
        stream.descend(stream.estimate, gradient, 0.1, end)
        stream.learn(end, gradient, 0.0)
        for span in SPANS:
            arrays = stream.push(span, 2)
            assert len(arrays) == 2, f"it says {len(arrays)} arrays of a block; messages have room for two"
            lengths = tuple(len(array) for array in arrays)
            assert lengths == tuple(stream.array_lengths(span)), f"array_lengths is not {lengths}"
            told = stream.announced_estimate(arrays)
            assert len(told) == span.stop - span.start, "announced_estimate has not the length of the block"
    tracker, own = stream.residual()
    assert tracker >= 0, "the residual is below 0"
    assert own >= 0, "the length of the own gradient is below 0"


def agents_agree_on_a_perfect_network(make: Make) -> None:
    """On the exact answer, unless it is biased; equal runs have equal bits."""
    found = [_run(make, FaultPlan()) for _ in range(2)]
    assert found[0].digest == found[1].digest, "two equal simulations differ"
    _check_answer(make, found[0], "nothing lost")


def losses_that_nobody_notices_do_no_harm(make: Make) -> None:
    """Nor do messages that come late, twice, or in another order."""
    faults = FaultPlan(drop=0.3, delay_s=Exponential(TICK_S), duplicate=0.2, reorder=0.2)
    _check_answer(make, _run(make, faults), "30 % lost, others late, doubled, reordered")


def somebody_who_dies_and_comes_back_does_no_harm(make: Make) -> None:
    """In a new epoch sums begin afresh."""
    scenario: list[Change] = [Kill(1, 100 * TICK_S), Restart(1, 160 * TICK_S)]
    _check_answer(make, _run(make, FaultPlan(drop=0.1), scenario), "an agent killed and restarted")


CHECKS: Final[tuple[Any, ...]] = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    it_says_two_arrays_of_each_block,
    agents_agree_on_a_perfect_network,
    losses_that_nobody_notices_do_no_harm,
    somebody_who_dies_and_comes_back_does_no_harm,
)
