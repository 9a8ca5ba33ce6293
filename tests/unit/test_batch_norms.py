"""Running statistics that are local variables: where they end, what hypergradients are, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import peer
from peer.baselines import train_alone
from peer.batch_norms import LocalNorm, seen_by, with_local_statistics
from peer.derivatives import Derivatives, Losses, derivatives
from peer.errors import ProblemError
from peer.personalization import personalization
from peer.rivals.crowd import Crowd
from peer.settings import AgentSettings
from peer.tensors import FlatLayout
from peer.torch_learner import TorchLearner

GENERATOR = torch.Generator().manual_seed(4)
INPUTS = 3 * torch.randn(48, 4, generator=GENERATOR, dtype=torch.float64) + 1
TARGETS = (INPUTS[:, 0] + INPUTS[:, 1] > 2).long()


def network(*, affine: bool = True) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(
            *(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=affine), nn.Tanh()),
            *(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)),
        )
        return layers.double()


def problem(
    module: nn.Module | None = None, shard: int = 0, chosen: str = "none", **more: Any
) -> peer.ModuleProblem:
    moved = INPUTS + shard  # every agent's instrument has a zero of its own
    sets = [(moved[a:b], TARGETS[a:b]) for a, b in ((0, 16), (16, 32), (32, 48))]
    wanted = personalization(chosen)
    return peer.ModuleProblem(
        module or network(), *sets, personalization=wanted, **{"weight_decay": 0.1, **more}
    )


def all_of(made: peer.ModuleProblem, local: Any) -> dict[str, Tensor]:
    return {name.removeprefix("statistics."): tensor for name, tensor in local.items()}


def test_the_module_stays_as_it_is_and_its_statistics_never_leave() -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    made = problem(module)
    next(iter(made.batches()))
    made.inner_loss(made.model, {}, next(made.batches()))
    assert made.module is module
    assert module.training
    assert type(module[1]) is nn.BatchNorm1d
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert list(made.model) == [name for name, _ in module.named_parameters()]
    assert list(made.local) == [
        f"statistics.{layer}.running_{which}" for layer in (1, 4) for which in ("mean", "log_variance")
    ]
    assert with_local_statistics(network().eval())[1].training is False  # type: ignore[index]


@pytest.mark.parametrize("affine", [True, False])
def test_with_its_own_statistics_a_layer_is_what_it_was(affine: bool) -> None:
    module = network(affine=affine)
    module(INPUTS)  # as anybody has trained it before
    wanted = with_local_statistics(module)
    assert torch.allclose(wanted(INPUTS), network(affine=affine).eval()(INPUTS)) is False
    assert torch.allclose(wanted(INPUTS), module.eval()(INPUTS), atol=1e-12)


def test_statistics_of_pictures_are_over_places_too() -> None:
    pictures = torch.randn(5, 2, 3, 3, generator=GENERATOR)
    made = with_local_statistics(nn.Sequential(nn.BatchNorm2d(2)))
    seen = seen_by(made, {}, pictures)
    assert torch.allclose(seen["0.running_mean"], pictures.mean((0, 2, 3)))
    assert torch.allclose(seen["0.running_log_variance"].exp() - 1e-5, pictures.var((0, 2, 3)))
    alone = with_local_statistics(nn.BatchNorm2d(2))
    assert isinstance(alone, LocalNorm)
    assert list(seen_by(alone, {}, pictures)) == ["running_mean", "running_log_variance"]


def test_statistics_end_at_those_of_the_training_samples() -> None:
    made = [problem(one_layer(), shard=shard) for shard in range(2)]
    found = peer.simulate(made, ticks=150)
    for one, agent in zip(made, found.agents, strict=True):
        parameters = {**agent.model, **all_of(one, agent.local)}
        seen = seen_by(with_local_statistics(one_layer()), parameters, one.training_set[0])
        for name, tensor in seen.items():
            assert torch.allclose(parameters[name], tensor, atol=0.05), name
    first, second = (agent.local["statistics.1.running_mean"] for agent in found.agents)
    assert not torch.allclose(first, second, atol=0.1), "each has its own"
    told = made[0].metrics(found.agents[0].model, {}, found.agents[0].local)
    assert told["shared"] == told["personal"] >= 0.8


def one_layer() -> nn.Sequential:
    """With one feature, as more would not be needed: decay lets those fade, and logarithms go with them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1), nn.Tanh(), nn.Linear(1, 2)).double()


class Settled:
    """One agent where all that DESIGN (3) asks for holds, by Newton steps on what `derivatives` gives."""

    def __init__(self, made: peer.ModuleProblem, hyperparameters: dict[str, Tensor]) -> None:
        self.problem, self.hyperparameters = made, hyperparameters
        self.x, self.z = FlatLayout(made.model, "model"), FlatLayout(made.local, "local")
        train, validation = next(made.batches()), next(made.outer_batches())
        self.losses = Losses(
            inner=lambda x, h, z: made.inner_loss(x, h, train, z),
            outer=lambda x, h, z: made.outer_loss(x, h, validation, z),
            local=lambda x, h, z: made.local_loss(x, h, train, z),
        )
        self.point = torch.cat([self.x.flatten(made.model), self.z.flatten(made.local)])
        for _ in range(300):  # to where Newton steps lead on
            self.point = self.point - 0.2 * self.residual(self.point)
        for _ in range(8):
            self.point = self.point - torch.linalg.solve(self.slopes(), self.residual(self.point))
        assert float(self.residual(self.point).abs().max()) < 1e-10

    def at(self, point: Tensor, adjoint: Tensor) -> Derivatives:
        named = [
            layout.unflatten(part)
            for flat in (point, adjoint)
            for layout, part in zip((self.x, self.z), flat.split([self.x.size, self.z.size]), strict=True)
        ]
        return derivatives(self.losses, named[0], self.hyperparameters, named[1], named[2], named[3])

    def residual(self, point: Tensor) -> Tensor:
        found = self.at(point, torch.zeros_like(point))
        return torch.cat([self.x.flatten(found.model_gradient), self.z.flatten(found.local_gradient)])

    def slopes(self) -> Tensor:
        """By central differences: the test's own."""
        steps = 1e-6 * torch.eye(len(self.point), dtype=torch.float64)
        columns = [
            (self.residual(self.point + step) - self.residual(self.point - step)) / 2e-6 for step in steps
        ]
        return torch.stack(columns, dim=1)

    def pulled(self, adjoint: Tensor) -> Tensor:
        found = self.at(self.point, adjoint)
        return torch.cat(
            [self.x.flatten(found.adjoint_gradient), self.z.flatten(found.local_adjoint_gradient)]
        )

    def hypergradient(self) -> Tensor:
        """v at the adjoints that are asked for; what `pulled` gives is affine in these."""
        offset = self.pulled(torch.zeros_like(self.point))
        units = torch.eye(len(self.point), dtype=torch.float64)
        matrix = torch.stack([self.pulled(unit) - offset for unit in units], dim=1)
        found = self.at(self.point, torch.linalg.solve(matrix, -offset))
        return torch.cat([tensor.reshape(-1) for tensor in found.hypergradient.values()])

    def validation_loss(self) -> float:
        return self.at(self.point, torch.zeros_like(self.point)).validation_loss


def test_hypergradients_are_those_of_differences() -> None:
    """Reference: DESIGN (3), against validation losses at hyperparameters that are moved, learned anew."""
    made = problem(one_layer(), chosen="regularization", weight_decay=0.02, prior_deviation=float("inf"))
    initial = dict(made.hyperparameters)
    direction = torch.linspace(1, 2, len(initial), dtype=torch.float64)

    def settled(change: float) -> Settled:
        moved = {
            name: tensor + change * by for (name, tensor), by in zip(initial.items(), direction, strict=True)
        }
        return Settled(made, moved)

    along = float(settled(0.0).hypergradient() @ direction)
    differences = (settled(1e-3).validation_loss() - settled(-1e-3).validation_loss()) / 2e-3
    assert abs(differences) > 1e-3
    assert along == pytest.approx(differences, rel=1e-5)


def test_what_is_taken_out_has_ordinary_layers_again() -> None:
    made = problem(chosen="bias")
    found = peer.simulate([made], ticks=60).agents[0]
    module = made.personal_module(found.model, found.hyperparameters, found.local)
    (copy,) = module.learners
    assert type(copy[1]) is nn.BatchNorm1d  # type: ignore[index]
    assert not copy[1].training  # type: ignore[index]
    wanted = made.predict(found.model, found.hyperparameters, INPUTS, found.local)
    assert torch.allclose(module(INPUTS), wanted, atol=1e-10)
    network().load_state_dict(copy.state_dict())
    bare = problem(network(affine=False)).personal_module(problem(network(affine=False)).model, {})
    assert bare.learners[0][1].weight is None  # type: ignore[index]
    alone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)).double()
    assert list(problem(alone, weight_decay=0.0).local) == [
        "statistics.1.running_mean",
        "statistics.1.running_log_variance",
    ]


def test_who_trains_alone_normalizes_by_the_batch() -> None:
    made = problem(prior_deviation=1.0)
    reached = train_alone(made, AgentSettings(), 80, use_validation=True)
    assert reached is not None
    assert reached >= 0.8
    assert float(made.plain_loss(made.parameters, made.training_set)) == pytest.approx(
        float(nn.functional.cross_entropy(network()(made.training_set[0]), made.training_set[1]).detach())
        + 0.05 * sum(float(tensor.square().sum()) for tensor in made.parameters.values())
    )


def test_decay_is_of_parameters_alone() -> None:
    one, other = problem(weight_decay=0.0), problem(weight_decay=0.2)
    batch = next(one.batches())
    squares = sum(float(tensor.square().sum()) for tensor in one.parameters.values())
    more = float(other.inner_loss(one.model, {}, batch) - one.inner_loss(one.model, {}, batch))
    assert more == pytest.approx(0.1 * squares)
    assert len(problem(chosen="regularization").hyperparameters) == len(one.parameters)


def test_statistics_survive_a_checkpoint() -> None:
    learner, again = TorchLearner[Any](problem()), TorchLearner[Any](problem())
    point = learner.initial_model
    learner.evaluate(point, point, 0.3)
    again.restore(learner.snapshot())
    for name, tensor in learner.local.items():
        assert torch.equal(again.local[name], tensor)
        assert not torch.equal(tensor, problem().local[name])


@pytest.mark.parametrize("chosen", ["head", "interpolation", "mixture:2", "lora:1"])
def test_what_does_not_go_together_is_refused(chosen: str) -> None:
    with pytest.raises(
        ProblemError, match=f"{chosen} does not go together with layers that learn statistics"
    ):
        problem(chosen=chosen)
    problem(network().eval(), chosen=chosen)


def test_other_methods_know_no_statistics() -> None:
    with pytest.raises(ProblemError, match="know no running statistics; use GroupNorm"):
        Crowd([problem()])


def test_a_layer_that_is_not_called_stays_as_it_is() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network()
            self.spare = nn.BatchNorm1d(2, affine=False).double()

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layers(inputs)
            return outputs

    learner = TorchLearner[Any](problem(Spare()))
    learner.evaluate(learner.initial_model, learner.initial_model, 0.3)
    assert torch.equal(learner.local["statistics.spare.running_mean"], torch.zeros(2, dtype=torch.float64))
