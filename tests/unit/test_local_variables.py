"""Inner variables that never leave the agent: what of them is refused, and when they stay where they are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch

import peer
from peer.events import NonFiniteStep
from peer.torch_learner import LOCAL_STEP, TorchLearner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

ONE = torch.ones(1, dtype=torch.float64)


class OwnVariable:
    """Inner (x - 1)^2 / 2; the local variable follows the model by a loss that the batch may spoil."""

    def __init__(self, batches: list[float]) -> None:
        self.model = {"x": ONE * 0}
        self.hyperparameters: dict[str, Tensor] = {}
        self.local = {"z": ONE * 0}
        self._given = batches

    def inner_loss(self, model: Any, hyperparameters: Any, batch: float, local: Any) -> Tensor:
        return (model["x"] - 1).square().sum() / 2

    def local_loss(self, model: Any, hyperparameters: Any, batch: float, local: Any) -> Tensor:
        return (local["z"] - model["x"]).square().sum() / 2 * batch

    def outer_loss(self, model: Any, hyperparameters: Any, batch: float, local: Any) -> Tensor:
        return local["z"].square().sum() / 2

    def batches(self) -> Iterator[float]:
        return itertools.cycle(self._given)


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), -1e300])
def test_a_local_step_that_is_not_finite_is_not_taken(spoilt: float) -> None:
    learner = TorchLearner(OwnVariable([1.0, spoilt, spoilt, 1.0]))
    assert learner.evaluate(ONE, ONE, 0.5).local_step_is_finite
    before = learner.local["z"].clone(), learner.local_adjoint["z"].clone()
    assert float(before[0]) == 0.5
    first, second = learner.evaluate(ONE, ONE, 1e300), learner.evaluate(ONE, ONE, 1e300)
    assert not first.local_step_is_finite
    assert not second.local_step_is_finite
    assert bool(torch.isfinite(first.model_gradient).all())
    assert (learner.local["z"], learner.local_adjoint["z"]) == before
    assert learner.evaluate(ONE, ONE, 0.5).local_step_is_finite
    assert float(learner.local["z"]) == 0.75


def test_a_swarm_survives_spoilt_batches_and_says_so() -> None:
    """Reference: DESIGN, section 4: nothing lost, and visible."""
    problems = [OwnVariable([1.0] * 9 + [float("nan")]), OwnVariable([1.0])]
    result = peer.simulate(problems, ticks=400, model_step_size=0.3, wire_dtype="float64", seed=1)
    told = {who for _, who, event in result.events if isinstance(event, NonFiniteStep)}
    assert told == {"agent-0"}
    for agent in result.agents:
        assert float(agent.model["x"]) == pytest.approx(1.0, abs=1e-6)
        assert float(agent.local["z"]) == pytest.approx(1.0, abs=1e-6)


def test_closed_forms_and_local_variables_do_not_go_together() -> None:
    problem = OwnVariable([1.0])
    problem.derivatives = lambda model, hyperparameters, adjoint: None  # type: ignore[attr-defined]
    with pytest.raises(peer.ProblemError, match="no closed-form derivatives; leave one out"):
        TorchLearner(problem)


def test_a_step_that_is_chosen_is_no_longer_than_the_local_curvature_allows() -> None:
    """The local loss is 50 (z - c)^2: its curvature is 100, found in the first two looks."""

    class Steep(OwnVariable):
        def local_loss(self, model: Any, hyperparameters: Any, batch: float, local: Any) -> torch.Tensor:
            return 50.0 * (local["z"] - batch).square().sum()

    learner = TorchLearner(Steep([1.0]))
    assert learner.local_step_size(0.2) == 0.0, "nothing is known yet: they would go astray for good"
    for _ in range(3):
        learner.evaluate(ONE, ONE, learner.local_step_size(0.001))
    assert learner.local_step_size(0.2) == pytest.approx(LOCAL_STEP / 100.0)
    assert learner.local_step_size(0.001) == 0.001
    again = TorchLearner(Steep([1.0]))
    again.restore(learner.snapshot())
    assert again.local_step_size(0.2) == learner.local_step_size(0.2)
