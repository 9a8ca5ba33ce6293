"""Mistakes that people make in tasks, each planted once, and found with a name, evidence and a remedy."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from peer.bench.ring import PURPOSES
from peer.checkup import costs, losses
from peer.checkup.costs import Cost
from peer.checkup.holdings import tensor_bytes
from peer.checkup.samples import missing, samples
from peer.checkup.trees import where_unlike
from peer.errors import ProblemError, SettingError
from peer.findings import Finding, Level
from peer.module_problem import ModuleProblem
from peer.options import readers
from peer.personalization import OutputBias
from peer.personalization.head import Head
from peer.settings import AgentSettings
from peer.tensors import FlatLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Named = Mapping[str, Tensor]


class Regression:
    """A problem without mistakes; each test plants one."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(8, 3, generator=generator)
        self.targets = self.inputs.sum(1)
        self.model: Named = {"weights": torch.zeros(3), "offset": torch.zeros(1)}
        self.hyperparameters: Named = {"log_decay": torch.zeros(1)}

    def inner_loss(self, model: Named, hyperparameters: Named, batch: Any) -> Tensor:
        decay = hyperparameters["log_decay"].exp() * model["weights"].square().sum()
        return self.misses(model, batch) + decay.sum()

    def outer_loss(self, model: Named, hyperparameters: Named, batch: Any) -> Tensor:
        del hyperparameters
        return self.misses(model, batch)

    def misses(self, model: Named, batch: Any) -> Tensor:
        inputs, targets = batch["samples"]
        return (inputs @ model["weights"] + model["offset"] - targets).square().mean()

    def batches(self) -> Iterator[Any]:
        return itertools.repeat({"samples": (self.inputs, self.targets)})


def wrong(findings: Iterable[Finding]) -> list[str]:
    """What is a problem; each says what to do, but where only the user knows."""
    found = [finding for finding in findings if finding.level is Level.PROBLEM]
    assert all(finding.evidence for finding in found)
    return [f"{finding.finding}: {finding.evidence}" for finding in found]


def all_of(problem: Any, again: Any = None, other: Any = None) -> list[str]:
    again, other = again or problem, other or problem
    return wrong(
        itertools.chain(
            losses.beginnings(problem, again, other),
            losses.order(problem, again),
            losses.behaviour(problem),
            losses.gradients(problem),
            losses.derivatives(problem),
        )
    )


def test_nothing_is_wrong_with_a_problem_without_mistakes() -> None:
    assert all_of(Regression(), Regression(), Regression(1)) == []


def test_models_that_begin_elsewhere() -> None:
    odd = Regression()
    odd.model = {**odd.model, "weights": torch.ones(3)}
    assert all_of(Regression(), odd) == [
        "asked twice for the same agent, problem() begins elsewhere: model['weights']"
    ]
    assert all_of(Regression(), None, odd) == [
        "models of different agents begin with different numbers: model['weights']"
    ]


def test_data_in_another_order_each_time() -> None:
    class Shuffled(Regression):
        def batches(self) -> Iterator[Any]:
            while True:
                order = torch.randperm(8)
                yield {"samples": (self.inputs[order], self.targets[order])}

    (told,) = wrong(losses.order(Shuffled(), Shuffled()))
    assert told.startswith(
        "the order of the data cannot be reproduced: batches(), batch 0: ['samples'][0] is"
    )


def test_numbers_of_rows_are_an_order_too_and_what_cannot_be_compared_is_said() -> None:
    class Rows(Regression):
        def batches(self) -> Iterator[Any]:
            while True:
                yield np.random.default_rng().permutation(8)

    (told,) = wrong(losses.order(Rows(), Rows()))
    assert told.startswith("the order of the data cannot be reproduced: batches(), batch 0: it is another")

    class Secret(Regression):
        def batches(self) -> Iterator[Any]:
            return itertools.repeat(object())

    (note,) = losses.order(Secret(), Secret())
    assert note.level is Level.NOTE
    assert note.evidence.startswith("3 of 3 hold no tensors")


def test_validation_batches_are_looked_at_as_well_and_must_not_end() -> None:
    class Ending(Regression):
        def outer_batches(self) -> Iterator[Any]:
            return iter([{"samples": (self.inputs, self.targets)}])

    assert wrong(losses.order(Ending(), Ending())) == ["batches come to an end: after 4 of 6"]


def noisy(self: Regression, model: Named, batch: Any) -> Tensor:
    inputs, targets = batch["samples"]
    return (nn.functional.dropout(inputs, 0.5) @ model["weights"] + model["offset"] - targets).square().mean()


def in_place(self: Regression, model: Named, batch: Any) -> Tensor:
    inputs, targets = batch["samples"]
    return (inputs.mul_(2.0) @ model["weights"] + model["offset"] - targets).square().mean()


def failing(self: Regression, model: Named, batch: Any) -> Tensor:
    return batch["sample"]


def many(self: Regression, model: Named, batch: Any) -> Tensor:
    inputs, targets = batch["samples"]
    return (inputs @ model["weights"] + model["offset"] - targets).square()


def no_number(self: Regression, model: Named, batch: Any) -> Tensor:
    return Regression.misses(self, model, batch) + torch.log(model["offset"] - 1.0).sum()


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (in_place, "{} changes its arguments: a tensor is not what it was before the call"),
        (no_number, "{} is no number at the start: nan"),
        (many, "{} is not one number: a tensor of shape (8,)"),
    ],
)
def test_losses_that_do_not_behave(planted: Callable[..., Tensor], told: str) -> None:
    class Planted(Regression):
        misses = planted

    found = wrong(losses.behaviour(Planted()))
    assert told.format("inner_loss") in found
    assert told.format("outer_loss") in found


def test_a_loss_that_is_random_does_not_move_the_random_stream_of_others() -> None:
    class Planted(Regression):
        misses = noisy

    odd = Planted()
    odd.model = {"weights": torch.ones(3), "offset": torch.zeros(1)}
    before = torch.get_rng_state()
    found = wrong(losses.behaviour(odd))
    assert torch.equal(torch.get_rng_state(), before)
    assert [line.partition(":")[0] for line in found] == [
        "inner_loss of the same batch is another each time",
        "outer_loss of the same batch is another each time",
    ]


def test_a_loss_that_fails() -> None:
    class Planted(Regression):
        misses = failing

    assert wrong(losses.behaviour(Planted())) == [
        "inner_loss fails: KeyError: 'sample'",
        "outer_loss fails: KeyError: 'sample'",
    ]


def test_parameters_that_nothing_depends_on() -> None:
    idle = Regression()
    idle.model = {**idle.model, "head.bias": torch.zeros(2)}
    assert all_of(idle) == ["parameters get no gradient from either loss: head.bias"]

    class Half(Regression):
        def inner_loss(self, model: Named, hyperparameters: Named, batch: Any) -> Tensor:
            fixed = {**model, "offset": torch.zeros(1)}
            return Regression.inner_loss(self, fixed, hyperparameters, batch)

    assert all_of(Half()) == [
        "parameters get no gradient from the training loss, and are not learned: offset"
    ]


def test_a_layer_of_zeros_does_not_hide_those_before_it() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
    nn.init.zeros_(module[2].weight)
    several = labelled(*[0, 1, 2] * 10)
    assert wrong(losses.gradients(ModuleProblem(module, several, several))) == []


def test_weight_decay_does_not_hide_a_layer_that_is_not_used() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.forgotten = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.used(inputs)
            return outputs

    several = labelled(*[0, 1, 2] * 10)
    problem = ModuleProblem(Forgetful(), several, several, weight_decay=1e-3)
    assert wrong(losses.gradients(problem)) == [
        "parameters get no gradient from either loss: forgotten.weight, forgotten.bias"
    ]
    assert problem.weight_decay == 1e-3


def test_a_validation_loss_that_does_not_depend_on_the_model() -> None:
    class Constant(Regression):
        def outer_loss(self, model: Named, hyperparameters: Named, batch: Any) -> Tensor:
            del model, batch
            return hyperparameters["log_decay"].square().sum()

    assert wrong(losses.gradients(Constant())) == []


def test_local_variables_are_given_to_losses_that_have_some() -> None:
    many = labelled(*[0, 1, 2] * 10)
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    assert all_of(ModuleProblem(module, many, many, personalization=Head())) == []


def test_hyperparameters_that_nothing_depends_on() -> None:
    idle = Regression()
    idle.hyperparameters = {**idle.hyperparameters, "temperature": torch.ones(1)}
    assert all_of(idle) == ["hyperparameters change nothing: temperature"]
    none = Regression()
    none.hyperparameters = {"log_decay": torch.zeros(1)}
    assert all_of(none) == []


def test_a_problem_with_nothing_of_its_own_is_no_mistake() -> None:
    class Plain(Regression):
        def inner_loss(self, model: Named, hyperparameters: Named, batch: Any) -> Tensor:
            return self.misses(model, batch)

    plain = Plain()
    plain.hyperparameters = {}
    assert all_of(plain) == []
    notes = [one.finding for one in losses.derivatives(plain) if one.level is Level.NOTE]
    assert notes == ["nothing is this agent's own"]


def test_losses_that_have_no_second_derivative() -> None:
    class Once(Regression):
        def misses(self, model: Named, batch: Any) -> Tensor:
            inputs, targets = batch["samples"]
            outputs = OnceDifferentiable.apply(inputs @ model["weights"] + model["offset"])
            found: Tensor = (outputs - targets).square().mean()
            return found

    (told,) = wrong(losses.derivatives(Once()))
    assert told.startswith("losses cannot be differentiated twice: ")


@dataclass
class Pair:
    first: str
    second: int


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_context: Any, slope: Tensor) -> Tensor:
        return slope


def test_slopes_that_are_infinite() -> None:
    class Root(Regression):
        def misses(self, model: Named, batch: Any) -> Tensor:
            return Regression.misses(self, model, batch) + model["offset"].abs().sqrt().sum()

    assert "derivatives at the start are no numbers: infinite or NaN" in wrong(losses.derivatives(Root()))


# ---- samples


def module_problem(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], *, test: bool = True
) -> ModuleProblem:
    return ModuleProblem(
        nn.Linear(2, 3), train, validation, train if test else None, personalization=OutputBias()
    )


def labelled(*labels: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(labels))
    return scale * torch.randn(len(labels), 2, generator=generator), torch.tensor(labels)


def told_of(problem: ModuleProblem) -> dict[str, str]:
    return {finding.finding: finding.evidence for finding in samples(problem)}


def test_samples_without_mistakes() -> None:
    many = labelled(*[0, 1, 2] * 10)
    found = list(samples(module_problem(many, many)))
    assert [finding.level for finding in found] == [Level.OK] * 2
    assert found[0].evidence == "train 30, validation 30, test 30"
    assert found[1].evidence == "3 classes"


def test_classes_that_are_in_one_set_only() -> None:
    found = told_of(module_problem(labelled(0, 0, 1), labelled(0, 2)))
    assert found["classes that this agent is asked for and has no training samples of"] == "2"
    assert found["classes that no validation sample is of"] == "1"
    assert found["few samples to learn from what is personal"] == "train 3, validation 2, test 3"


def test_classes_that_the_module_has_no_output_for() -> None:
    def lenient(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets.clamp(max=2))

    sets = labelled(0, 1, 7), labelled(0, 1), labelled(0, 1)
    found = wrong(samples(ModuleProblem(nn.Linear(2, 3), *sets, loss=lenient, personalization=OutputBias())))
    assert found == ["classes that the 3 outputs cannot tell: 7"]


def test_no_test_samples() -> None:
    assert "no test samples" in told_of(module_problem(labelled(0, 1), labelled(0, 1), test=False))


def test_inputs_that_are_missing_large_or_all_alike() -> None:
    inputs, targets = labelled(0, 1, 2)
    inputs[1, 0] = math.nan
    lacking = module_problem((inputs, targets), labelled(0, 1, 2))
    told = "infinite or missing values: train inputs in 1 of 3 rows, column 0 counted from 0, test inputs in"
    assert wrong(missing(lacking)) == [f"{told} 1 of 3 rows, column 0 counted from 0"]
    inputs[2] = math.inf
    (finding,) = missing(module_problem((inputs, targets), labelled(0, 1), test=False))
    assert finding.evidence == "train inputs in 2 of 3 rows, columns 0, 1 counted from 0"
    pictures = torch.full((3, 1, 2), math.nan)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    (finding,) = missing(ModuleProblem(network, (pictures, targets), (torch.zeros(3, 1, 2), targets)))
    assert finding.evidence == "train inputs in 3 of 3 rows"
    assert not list(missing(module_problem(labelled(0, 1), labelled(0, 1))))
    large = told_of(module_problem(labelled(0, 1, 2, scale=500.0), labelled(0, 1)))
    assert large["inputs are large numbers"].startswith("deviation ")
    alike = module_problem((torch.ones(3, 2), targets), labelled(0, 1))
    assert wrong(samples(alike)) == ["all inputs are alike: deviation 0"]


def test_inputs_that_are_whole_numbers_and_targets_that_are_numbers() -> None:
    words = ModuleProblem(
        nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1)),
        (torch.tensor([[1, 2], [3, 4]]), torch.rand(2, 1)),
        (torch.tensor([[1, 2], [3, 4]]), torch.rand(2, 1)),
        loss=nn.functional.mse_loss,
    )
    assert wrong(samples(words)) == []


# ---- costs


COST = Cost(1_000_000, dict.fromkeys(PURPOSES, 0.01), 16e6, 8.0, 100 * 2**20)


def lines(cost: Cost, megabits: float, **settings: Any) -> list[Finding]:
    return list(costs.costs(cost, AgentSettings(**settings), megabits))


def test_what_a_tick_costs_is_told_with_what_it_means_on_a_link() -> None:
    slow, memory, sent = lines(COST, 100.0, tick_s=0.02, fanout=2)
    assert slow.level is Level.NOTE
    assert slow.finding == "a tick takes 40 ms here"
    assert "begin every 20 ms and cannot" in slow.remedy
    assert memory.finding == "an agent holds about 123 MiB"
    assert sent.level is Level.NOTE
    assert sent.finding == "a tick sends 32 MB"
    assert "1.28e+04 Mbit/s at 0.02 s a tick, more than 100" in sent.evidence
    assert "--bytes-per-second 12500000 keeps to it, and sends each parameter every 3.41 s" in sent.remedy
    assert "or --tick-ms 2560" in sent.remedy


def test_wider_numbers_take_more_room() -> None:
    _, narrow, _ = lines(COST, 100.0, fanout=3)
    _, wide, _ = lines(COST, 100.0, fanout=3, wire_dtype="float64")
    assert narrow.finding == "an agent holds about 146 MiB"
    assert wide.finding == "an agent holds about 192 MiB"


def test_what_is_cheap_enough_has_no_remedy() -> None:
    quick, _, sent = lines(Cost(3, dict.fromkeys(PURPOSES, 1e-4), 300.0, 1.0, 900), 1.0, tick_s=1.0)
    assert (quick.level, quick.remedy) == (Level.OK, "")
    assert (sent.level, sent.finding, sent.remedy) == (Level.OK, "a tick sends 900 bytes", "")
    (_, _, more) = lines(Cost(3, dict.fromkeys(PURPOSES, 1e-4), 3000.0, 1.0, 900), 1.0, tick_s=1.0)
    assert more.finding == "a tick sends 9 KB"


def test_costs_are_measured_on_agents_that_learn() -> None:
    settings = AgentSettings(warm_up_ticks=2.0, tick_jitter=0.0, evaluate_every=0, hyper_step_size=None)
    many = labelled(*[0, 1, 2] * 10)
    found = costs.measure([module_problem(many, many) for _ in range(2)], settings, 0.0)
    assert found.parameters == 9
    assert found.tick_s > 0.0
    assert found.messages_per_tick == 1.0
    assert 4 * 4 * 9 < found.bytes_per_tick < 2000
    kept = 8 * 9 * 12  # both streams of x, m, g, y, sigma, and where local steps end
    assert kept < found.held_bytes < 3 * kept


def test_storages_count_once_and_problems_not_at_all() -> None:
    tensor = torch.zeros(10)
    assert tensor_bytes([tensor, tensor[2:4], {"x": (tensor, torch.zeros(2, dtype=torch.float64))}]) == 56
    many = labelled(0, 1, 2)
    assert tensor_bytes([module_problem(many, many), nn.Linear(2, 2), "text", None, 3]) == 0


def test_where_trees_are_unlike() -> None:
    nan = torch.tensor([math.nan])
    assert where_unlike({"a": [nan, "text"]}, {"a": [nan.clone(), "text"]}) is None
    assert where_unlike([torch.zeros(2)], [torch.zeros(2), torch.zeros(1)]) == "1 things, then 2"
    assert where_unlike(torch.zeros(2), torch.zeros(2, dtype=torch.float64)) == "it"
    assert where_unlike([np.arange(3), 4, "x", math.nan], [np.arange(3), 4, "x", math.nan]) is None
    assert where_unlike({"rows": np.arange(3)}, {"rows": np.arange(1, 4)}) == "['rows']"
    assert where_unlike((1, Pair("a", 2)), (1, Pair("a", 3))) == "[1].second"
    assert where_unlike(object(), object()) is None, "nothing of it can be compared"
    assert where_unlike([4], [4.0]) == "[0]"
    assert where_unlike((torch.zeros(2), torch.ones(1)), (torch.zeros(2), torch.zeros(1))) == "[1]"


def test_findings_are_the_same_for_people_and_programs() -> None:
    found = Finding(Level.NOTE, "few samples", "train 3", "give more")
    assert found.to_line() == "note     few samples: train 3 -> give more"
    assert found.to_dict() == {
        "level": "note",
        "finding": "few samples",
        "evidence": "train 3",
        "remedy": "give more",
    }


def test_templates_are_asked_for_by_name() -> None:
    assert readers.template("text") == "text"
    with pytest.raises(SettingError, match="give one of vision, tabular, text, custom"):
        readers.template("sound")


def test_derivatives_of_another_shape_are_refused_and_not_spread_out() -> None:
    layout = FlatLayout({"x": torch.zeros(5), "y": torch.zeros(2, 2)}, "model")
    flat = layout.flatten_into({"x": torch.ones(5), "y": torch.ones(4)}, torch.zeros(9))
    assert torch.equal(flat, torch.ones(9))
    with pytest.raises(ProblemError, match=r"'x' has shape \(1,\) instead of \(5,\)"):
        layout.flatten_into({"x": torch.ones(1), "y": torch.ones(2, 2)}, torch.zeros(9))
