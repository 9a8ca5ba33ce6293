"""Tasks with minibatches: drawn alike everywhere, really learned, and what the table makes of the results."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch

from peer.bench import minibatches
from peer.bench.minibatch_tasks import Task, draw_task
from peer.bench.minibatches import SETTINGS, Outcome, Run, compare, outcome_of, summary
from peer.errors import HyperpushError
from wire import FaultPlan

SMALL = Task(
    seed=1,
    agents=2,
    features=4,
    scale=1.0,
    classes=2,
    target_scale=1.0,
    random_labels=0.0,
    samples=20,
    batch=5,
    hidden=(),
    activation="tanh",
    weight_decay=1e-2,
    personalization="none",
    faults=FaultPlan(drop=0.1),
    about="small",
)


def test_tasks_of_all_kinds_are_drawn_and_the_same_again() -> None:
    tasks = [draw_task(seed) for seed in range(60)]
    assert draw_task(7) == tasks[7]
    assert {task.classes for task in tasks} == {0, 2, 10}
    assert {task.personalization for task in tasks} == {"none", "logits", "proximal", "head"}
    assert {len(task.hidden) for task in tasks} == {0, 1, 2}
    assert all(task.batch <= task.samples for task in tasks)
    assert f"{tasks[3].agents} agents, {tasks[3].features}-" in tasks[3].about


@pytest.mark.parametrize("task", [SMALL, replace(SMALL, classes=0, target_scale=30.0, hidden=(8,))])
def test_agents_begin_alike_and_see_rules_that_are_alike(task: Task) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, other = task.problems()
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in one.parameters.items():
        assert torch.equal(tensor, other.parameters[name])
    inputs, targets = one.training_set
    assert len(inputs) == task.samples
    assert not torch.equal(inputs, other.training_set[0])
    if not task.classes:
        assert float(targets.std()) == pytest.approx(0.7 * task.target_scale, rel=0.5)


def test_chance_is_in_as_many_labels_as_it_should_be() -> None:
    def shares(chance: float) -> float:
        task = replace(SMALL, samples=400, random_labels=chance, agents=1)
        (problem,) = task.problems()
        inputs, targets = problem.training_set
        weights = torch.linalg.lstsq(inputs, 2.0 * targets[:, None] - 1.0).solution
        return float(((inputs @ weights)[:, 0] > 0).eq(targets.bool()).float().mean())

    assert shares(0.0) > 0.95
    assert shares(1.0) < 0.65


def test_swarms_learn_and_are_compared_with_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minibatches, "LAST_TICKS", 5)
    found = compare(SMALL, ticks=60)
    assert len(found.grid) == len(SETTINGS)
    assert found.tuned.end < 0.8 * found.tuned.start
    assert not found.tuned.is_worse
    assert found.tuned.peak >= found.tuned.end
    assert found.tuned.validation_end < found.tuned.validation_start
    assert 0.0 < found.tuned.adjoint < minibatches.BEYOND
    assert found.best == min(found.grid)
    assert "steps: model" in found.chosen
    assert outcome_of(asdict(found)) == found


def test_losses_beyond_all_numbers_are_infinite() -> None:
    found = minibatches.run(replace(SMALL, classes=0, target_scale=30.0), 30, step=1e6, momentum=0.9)
    assert not math.isnan(found.end)
    assert found.is_worse


def outcome(seed: int, end: float, *grid: float, adjoint: float = 1.0, validation: float = 0.5) -> Outcome:
    ran = Run(1.0, end, max(1.0, end), adjoint, seed, 1.0, validation)
    return Outcome(seed, "a task", ran, (*grid, *[math.inf] * (len(SETTINGS) - len(grid))), "steps")


def test_the_table_counts_what_has_gone_wrong() -> None:
    outcomes = [
        outcome(0, 0.2, 0.4, 0.1),
        outcome(1, 0.1, 0.09, 0.2, adjoint=1e9),
        outcome(2, 5.0, 0.5, 0.4, validation=math.inf),
    ]
    table = summary(outcomes)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[0] == ("chosen by the agents", "1.91", "12.2", "12.2", "1", "1", "1", "2", "2")
    assert rows[1][0] == "0.003 / curvature, momentum 0.9 for all"
    assert rows[1][4] == "0"


@pytest.mark.parametrize("broken", [{}, {"tuned": {}}, {"tuned": None, "grid": ()}])
def test_a_record_with_other_fields_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(HyperpushError, match="other fields"):
        outcome_of(broken)
